"""StyleAug on PyTorch, as a peer: how long its published networks take for a view.

StyleAug (Jackson et al. 2018, "Style Augmentation: Data Augmentation via Style Randomization") is
not part of this project, nor are its weights. It is under the MIT licence. Where PyTorch is
installed, a clone is all that it takes, and need not be installed itself:

    git clone https://github.com/philipjackson/style-augmentation FOLDER

The clone holds its three checkpoints. Loading it runs its code.
"""

import functools
import importlib
import pathlib
import statistics
import sys
import time
from unittest import mock

import numpy as np

from sassl_tf.errors import UserError

BATCHES = (1, 8)
ALPHA = 0.5  # its default share of the random style
CHECKPOINTS = ("transformer", "stylepredictor", "embeddings")


def load_styleaug(checkout):
    """Its augmentor, for inference.

    Raises:
        ValueError: `checkout` is no complete clone, or PyTorch is not installed.
    """
    try:
        import torch  # no requirement of this project
    except ImportError as error:
        raise UserError("--styleaug needs PyTorch: pip install torch.") from error
    package = pathlib.Path(checkout).resolve() / "styleaug"
    files = [package / f"checkpoints/checkpoint_{name}.pth" for name in CHECKPOINTS]
    missing = [str(file) for file in [package / "styleAugmentor.py", *files] if not file.exists()]
    if missing:
        raise UserError(f"{checkout} is no complete clone of StyleAug; missing: {missing}.")
    # It leaves open where the weights go: without this, ones saved on a GPU would need a GPU.
    to_cpu = functools.partial(torch.load, map_location="cpu")
    with mock.patch.object(sys, "path", [str(package.parent), *sys.path]):
        module = importlib.import_module("styleaug.styleAugmentor")
        with mock.patch.object(torch, "load", to_cpu):
            return module.StyleAugmentor().eval()  # with the stored moments of its batch norm


def rows(checkout, size, repeats):
    """Rows of {batch, who, milliseconds_a_view}; the median of `repeats` calls after two.

    A call is what its users call: it predicts the style of the images, draws random styles, blends
    the two and restyles. It runs with PyTorch's own number of threads.
    """
    import torch

    augmentor = load_styleaug(checkout)
    rng = np.random.default_rng(0)
    found = []
    for batch in BATCHES:
        images = torch.from_numpy(rng.random((batch, 3, size, size), np.float32))
        durations = []
        with torch.no_grad():
            for _ in range(2 + repeats):
                start = time.perf_counter()
                augmentor(images, alpha=ALPHA).numpy()
                durations.append(time.perf_counter() - start)
        milliseconds = 1000 * statistics.median(durations[2:]) / batch
        row = {"batch": batch, "who": "StyleAug", "milliseconds_a_view": round(milliseconds, 1)}
        found.append(row)
    return found
