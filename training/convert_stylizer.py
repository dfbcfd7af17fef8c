"""Writes a stylizer's weights to one safetensors file, which loads in a second without a network.

    python -m training.convert_stylizer --stylizer=magenta --output=magenta.safetensors
    python -m training.convert_stylizer --weights=FOLDER --output=magenta.safetensors

Load it with `load_stylizer("magenta", weights="magenta.safetensors")`. `--weights` is whatever
`load_stylizer` takes: a Hub or Kaggle handle, a SavedModel folder, Magenta's unpacked checkpoint. A
SavedModel is run once, to check the numbers that are read from it, so give one that you trust.
"""

from absl import flags

from sassl_tf.stylizers import load_stylizer
from training.command import binary


def main(_: list[str]) -> None:
    values = flags.FLAGS
    stylizer = load_stylizer(values.stylizer, values.weights)
    stylizer.save(values.output)
    print(f"{values.output}: {stylizer!r}.")


if __name__ == "__main__":
    flags.DEFINE_string("stylizer", "magenta", "The name of the stylizer.")
    flags.DEFINE_string(
        "weights",
        None,
        "The source of the weights; by default Kaggle where kagglehub is installed, else TF Hub.",
    )
    flags.DEFINE_string("output", None, "The .safetensors file to write.", required=True)
    flags.register_validator(
        "output",
        lambda path: path.endswith(".safetensors"),
        "expected a file name that ends in .safetensors",
    )
    binary.run(main)
