r"""Trains the compact stylizer by distillation from Magenta's mobile model.

    python -m training.distill_stylizer --teacher=FOLDER_OF_TFLITE_FILES \
        --content=PHOTOGRAPHS/train --content=OTHERS/train --styles=FOLDER/train \
        --workdir=runs/compact

The student begins with the teacher's weights wherever the shapes agree. Its T learns the teacher's
pictures from the teacher's codes, with α from all of [0, 1], half of them in SASSL's [0.1, 0.3].
Its F learns the teacher's codes, weighted by their effect on the teacher's T. Every step has new
crops, colours and textures, which the teacher stylizes at once. The same command continues a run
that was interrupted. The result is `compact.safetensors` in the workdir.
"""

from absl import flags

from sassl_tf.stylizers import load_stylizer
from training.command import binary
from training.distillation.distill import Settings, distill


def main(_: list[str]) -> None:
    values = flags.FLAGS
    teacher = load_stylizer("magenta-mobile", values.teacher)
    settings = Settings(
        values.content,
        values.styles,
        values.steps,
        values.batch,
        values.learning_rate,
        values.seed,
    )
    print(f"Wrote {distill(teacher, settings, values.workdir)}.")


if __name__ == "__main__":
    flags.DEFINE_string(
        "teacher", None, "The folder of the mobile stylizer's two .tflite files.", required=True
    )
    flags.DEFINE_multi_string(
        "content", None, "A folder of photographs; may be given several times.", required=True
    )
    flags.DEFINE_string("styles", None, "The folder of style images.", required=True)
    flags.DEFINE_string(
        "workdir", None, "The folder for checkpoints, curves and the result.", required=True
    )
    flags.DEFINE_integer("steps", 8000, "The number of optimizer steps.", lower_bound=1)
    flags.DEFINE_integer(
        "batch", 32, "The number of contents, and of styles, in a step.", lower_bound=4
    )
    flags.DEFINE_float(
        "learning_rate", 5e-4, "The learning rate of Adam after the warm-up.", lower_bound=0.0
    )
    flags.DEFINE_integer("seed", 7, "The seed of every draw.", lower_bound=0)
    binary.run(main, continues=True)
