"""The benchmarks run, in their smallest form, and write what `benchmarks.compare` reads.

Their numbers mean nothing here. Those that need Magenta's files, or networks of the full size, are
left out.
"""

import json
import math

import pytest
from PIL import Image

from benchmarks.compare import SPEEDS
from sassl_tf import samples
from tests import commands


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of JPEG files."""
    folder = tmp_path_factory.mktemp("photographs")
    for copy in range(4):
        for number, pixels in enumerate(samples.photographs()):
            Image.fromarray(pixels).save(folder / f"{copy}-{number}.jpg")
    return folder


SMALLEST = {
    "views": "--size=16 --batch=2 --repeats=1",
    "view_pipelines": "--images={images} --size=32 --batch=2 --batches=2 --rounds=1",
    "pretraining": "--images={images} --case=simclr/resnet18/32/4 --steps=1 --first=1 --turns=1",
    "latency": "--ms=1 --reads=2 --reads=4 --seconds=0.1 --images=512 --bytes=2000",
    "l2_sweep": "--solver=lbfgs --budget=1",
}


CASES = [pytest.param(n, marks=pytest.mark.slow if n == "pretraining" else ()) for n in SMALLEST]


@pytest.mark.parametrize("name", CASES)
def test_a_benchmark_writes_what_is_compared(name, photographs, tmp_path):
    file = tmp_path / f"{name}.json"
    flags = SMALLEST[name].format(images=photographs).split()
    done = commands.run(f"benchmarks.{name}", *flags, f"--output={file}")
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    assert report["machine"]["cores"] >= 1
    ratios = SPEEDS[file.name](report)
    assert ratios and all(0 < ratio < math.inf for ratio in ratios.values())
