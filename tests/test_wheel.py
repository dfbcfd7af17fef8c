"""The wheel on its own: what the README promises without a checkout."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import sassl_tf
from tests.docs.pages import blocks

ROOT = pathlib.Path(__file__).parents[1]
BESIDE = """
import keras
import tensorflow as tf
images = __import__("sassl_tf").samples.photographs(64)
encoder = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten()])
dataset = tf.data.Dataset.from_tensor_slices(images)
"""
AFTER = """
import importlib.util, pathlib, sys
assert pathlib.Path(sassl_tf.__file__).is_relative_to(sys.path[1]), sassl_tf.__file__
for name in ("training", "evaluation"):
    assert importlib.util.find_spec(name) is None, name
model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
sassl_tf.save_to_preset(model, "preset", {"image_size": 8})
assert sassl_tf.load_encoder("preset").output_shape == (None, 3)
assert len(sassl_tf.load_dataset("shapes", "test")) == 1000
print("passed")
"""


def run(*command, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_readme_runs_from_the_wheel_alone(tmp_path):
    build = ["-m", "build", "--wheel", "--no-isolation", f"--outdir={tmp_path}"]
    run(*build, ROOT, folder=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    home = tmp_path / "installed"
    run("-m", "pip", "install", "--quiet", "--no-deps", f"--target={home}", wheel, folder=tmp_path)
    script = tmp_path / "script" / "readme.py"
    script.parent.mkdir()
    examples = [BESIDE, *blocks(ROOT / "README.md", "python"), AFTER]
    script.write_text("\n".join(examples))
    assert "passed" in run(script, folder=script.parent, PYTHONPATH=str(home))


def test_what_pypi_shows_has_whole_addresses():
    code = "import runpy, setuptools; setuptools.setup = lambda **k: print(k['long_description'])"
    code += "; runpy.run_path('setup.py')"
    shown = run("-c", code, folder=ROOT)
    targets = re.findall(r"\]\(([^)]+)\)", shown)
    assert targets and all(target.startswith(("http", "#")) for target in targets)
    assert "/raw/main/docs/images/views.jpg" in shown and "/blob/main/docs/install.md" in shown


def test_the_changelog_has_the_version():
    assert f"\n## {sassl_tf.__version__}" in (ROOT / "CHANGELOG.md").read_text()
