"""Computes a style bank from a folder of images.

    python -m training.build_style_bank --images=FOLDER --stylizer=compact --output=styles.npz

Every image under the folder counts. The bank serves `SASSLAugmentation(styles="styles.npz")` with
the same stylizer.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags

from sassl_tf.style_bank import StyleBank
from sassl_tf.stylizers import load_stylizer

_IMAGES = flags.DEFINE_string("images", None, "Folder of style images.", required=True)
_STYLIZER = flags.DEFINE_string("stylizer", "compact", "Name of the stylizer.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Of the stylizer, where its name is not enough.")
_OUTPUT = flags.DEFINE_string("output", None, "The .npz file to write.", required=True)


def main(_):
    stylizer = load_stylizer(_STYLIZER.value, _WEIGHTS.value)
    bank = StyleBank.from_images(_IMAGES.value, stylizer)
    bank.save(_OUTPUT.value)
    print(f"{_OUTPUT.value}: {len(bank)} styles of {_IMAGES.value}, for {stylizer!r}.")


if __name__ == "__main__":
    app.run(main)
