"""A saved model in a process that has done nothing but import."""

import ast
import importlib
import pathlib
import subprocess
import sys

import keras
import pytest

import sassl_tf
from sassl_tf import registration
from sassl_tf.stylizers import layers
from tests import commands

LOAD = """
import sys
model = keras.models.load_model(sys.argv[1])
print(type(model.layers[0]).__module__, type(model.layers[0]).__name__)
"""


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((32, 32, 3)), sassl_tf.SASSLAugmentation()]).save(path)
    return path


def check_loaded(run):
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["sassl_tf.augmentation", "SASSLAugmentation"]


def test_importing_the_package_after_keras_is_enough(saved):
    """As docs/layer.md shows; the process has imported Keras, and nothing of ours."""
    nothing = "import sys\nassert not [name for name in sys.modules if name[:8] == 'sassl_tf']\n"
    check_loaded(commands.run_program(f"{nothing}import keras, sassl_tf\n{LOAD}", saved))


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import sassl_tf, keras",
        "import sassl_tf, tensorflow; keras = tensorflow.keras",
        "import sassl_tf.stylizers, keras",
    ],
)
def test_importing_the_package_first_is_enough(saved, imports):
    command = [sys.executable, "-c", imports + LOAD, str(saved)]
    check_loaded(subprocess.run(command, capture_output=True, text=True))


def test_every_layer_is_known_beforehand():
    decorated = {
        node.name
        for file in pathlib.Path(sassl_tf.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and any("register_keras_serializable" in ast.unparse(d) for d in node.decorator_list)
    }
    assert {name for names in registration.LAYERS.values() for name in names} == decorated
    for module, names in registration.LAYERS.items():
        assert all(hasattr(importlib.import_module(module), name) for name in names)


def test_a_stand_in_gives_the_real_layer_and_never_takes_its_place():
    registration.register(keras)
    assert keras.saving.get_registered_object("sassl_tf>StyleNorm") is layers.StyleNorm
    stand_in = registration._stand_in("sassl_tf.stylizers.layers", "ReflectPadding")
    layer = stand_in.from_config({"margin": 3})
    assert isinstance(layer, layers.ReflectPadding) and layer.margin == 3
