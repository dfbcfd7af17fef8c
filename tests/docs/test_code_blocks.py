"""Every code block of README and docs: Python is run, commands are run or their flags parsed."""

import json
import os
import pathlib
import shlex
import stat
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import sassl_tf
from sassl_tf import samples
from tests.docs.pages import ROOT, blocks, name, with_blocks
from tests.stylizers.hub_module import made_up_variables, save_hub_module

pytestmark = pytest.mark.docs

# Those of the README are run for real, made small by these; of other pages the flags are parsed.
RUN = [ROOT / "README.md"]
SMALLER = {
    ":imagenette": ":smoke",
    "folder:PATH": "folder:images",
    "few_shot_1,few_shot_10": "few_shot_1",
}
SHIM = """#!{python}
import json, os, sys
with open({record!r}, "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""


@pytest.fixture(scope="module")
def magenta(tmp_path_factory):
    """What the pages call Magenta's weights, with numbers made up, in a folder of its own."""
    folder = tmp_path_factory.mktemp("magenta")
    save_hub_module(folder / "hub", made_up_variables())
    stylizer = sassl_tf.load_stylizer("magenta", weights=folder / "hub")
    stylizer.save(folder / "magenta.safetensors")
    return folder


def write_images(folder, count=2):
    for label in ("first", "second"):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng([ord(label[0]), number]).integers(0, 256, (40, 40, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")


@pytest.mark.parametrize("page", with_blocks("python"), ids=name)
def test_python(page, magenta, tmp_path, monkeypatch):
    """One namespace for a page, with what its reader would have: images, a dataset, an encoder."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "paintings")
    load = sassl_tf.load_stylizer

    def load_made_up(stylizer, weights=None):
        """Wherever a page says that Magenta's weights are."""
        return load(stylizer, magenta / "magenta.safetensors" if stylizer == "magenta" else weights)

    monkeypatch.setattr(sassl_tf, "load_stylizer", load_made_up)
    images = samples.photographs(64)
    encoder = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten()])
    keras.Sequential([sassl_tf.SASSLAugmentation(), encoder]).save("model.keras")
    namespace = {
        "tf": tf,
        "keras": keras,
        "sassl_tf": sassl_tf,
        "images": images,
        "labels": tf.data.Dataset.range(4),
        "dataset": tf.data.Dataset.from_tensor_slices(images),
        "encoder": encoder,
    }
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{name(page)}, block {number}", "exec"), namespace)
        for made in ("dataset", "views"):
            if isinstance(namespace.get(made), tf.data.Dataset):
                assert next(iter(namespace[made])) is not None
        namespace["dataset"] = tf.data.Dataset.from_tensor_slices(images)


@pytest.mark.parametrize("page", with_blocks("sh"), ids=name)
def test_commands_exist_and_know_their_flags(page, tmp_path):
    """The shell runs the block; what it calls is written down, and each is looked at."""
    record = tmp_path / "record.jsonl"
    for command in ("python", "make", "pip", "tensorboard", "git"):
        shim = tmp_path / command
        shim.write_text(SHIM.format(python=sys.executable, record=str(record)))
        shim.chmod(shim.stat().st_mode | stat.S_IEXEC)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    for block in blocks(page, "sh"):
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    commands = [json.loads(line) for line in record.read_text().splitlines()]
    assert commands
    makefile = (ROOT / "Makefile").read_text()
    for program, *arguments in commands:
        if program == "make":
            assert f"\n{arguments[0]}:" in makefile, arguments
    modules = [arguments[1:] for program, *arguments in commands if arguments[:1] == ["-m"]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.parse_flags"],
        cwd=ROOT,
        input=json.dumps(modules),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", RUN, ids=name)
def test_commands_for_real(page, tmp_path):
    write_images(tmp_path / "images" / "train", count=20)
    write_images(tmp_path / "images" / "test", count=5)
    for folder in ("training", "evaluation"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for block in blocks(page, "sh"):
        if "python -m" not in block:
            continue
        for long, short in SMALLER.items():
            block = block.replace(long, short)
        block = block.replace("make setup && . .venv/bin/activate\n", "")
        block = block.replace("python -m", f"{shlex.quote(sys.executable)} -m")
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "report" / "report.md").exists()
    told = (tmp_path / "report" / "report.md").read_text()
    assert all(protocol in told for protocol in ("linear_probe", "knn", "few_shot"))
    assert (tmp_path / "runs" / "sassl" / "encoder.keras").exists()


def test_the_prompts_are_ours():
    """A block in another language, or without one, would not be looked at."""
    text = "".join(pathlib.Path(page).read_text() for page in with_blocks("sh"))
    assert "```console" not in text and "```bash" not in text and "```shell" not in text
