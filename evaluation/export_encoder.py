"""Exports an encoder as a TensorFlow SavedModel, for serving without Keras.

    python -m evaluation.export_encoder --encoder=runs/simclr --output=exported/simclr

Then `model = tf.saved_model.load(output)` and `model.serve(images)`: float32 [B, H, W, 3] in [0, 1]
to features [B, D].
"""

import pathlib

from absl import flags

from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.typing import PathLike
from training.command import binary


def export_encoder(encoder_path: PathLike, output: PathLike) -> None:
    """Writes the SavedModel of an encoder into a new folder.

    Args:
        encoder_path: a `.keras` file, or the workdir of a pretraining.
        output: the folder to make; it must not exist yet.

    Raises:
        ValueError: the folder exists, or there is no encoder.
    """
    from evaluation.encoders import load_encoder

    output = pathlib.Path(output)
    if output.exists():
        raise UserError(f"{output} is there already; give the name of a new folder.")
    encoder = load_encoder(encoder_path)
    with replacing(output) as beside:
        encoder.export(str(beside), verbose=False)


def main(_: list[str]) -> None:
    values = flags.FLAGS
    export_encoder(values.encoder, values.output)
    print(f"Wrote {values.output}.")


if __name__ == "__main__":
    flags.DEFINE_string("encoder", None, "The encoder: a .keras file or a workdir.", required=True)
    flags.DEFINE_string("output", None, "The folder to make.", required=True)
    binary.run(main)
