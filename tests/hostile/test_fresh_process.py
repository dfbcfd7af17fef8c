"""A saved model in a process that has done nothing but import."""

import subprocess
import sys

import keras
import pytest

import sassl_tf
from sassl_tf import registration
from sassl_tf.stylizers import layers

LOAD = """
import sys
model = keras.models.load_model(sys.argv[1])
print(type(model.layers[0]).__module__, type(model.layers[0]).__name__)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, sassl_tf",  # as docs/layer.md shows
        pytest.param("import sassl_tf, keras", marks=pytest.mark.slow),
        pytest.param(
            "import sassl_tf, tensorflow; keras = tensorflow.keras", marks=pytest.mark.slow
        ),
        pytest.param("import sassl_tf.stylizers, keras", marks=pytest.mark.slow),
    ],
)
def test_importing_the_package_is_enough(tmp_path, imports):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((32, 32, 3)), sassl_tf.SASSLAugmentation()]).save(path)
    run = subprocess.run(
        [sys.executable, "-c", imports + LOAD, str(path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["sassl_tf.augmentation", "SASSLAugmentation"]


def test_every_layer_is_known_beforehand():
    assert sassl_tf.SASSLAugmentation and layers.StyleNorm  # imported, and so registered
    known = keras.saving.get_custom_objects()
    ours = {name for name, made in known.items() if made.__module__.startswith("sassl_tf.")}
    listed = {f"sassl_tf>{name}" for names in registration.LAYERS.values() for name in names}
    assert listed == ours


def test_a_stand_in_gives_the_real_layer_and_never_takes_its_place():
    registration.register(keras)
    assert keras.saving.get_registered_object("sassl_tf>StyleNorm") is layers.StyleNorm
    stand_in = registration._stand_in("sassl_tf.stylizers.layers", "ReflectPadding")
    layer = stand_in.from_config({"margin": 3})
    assert isinstance(layer, layers.ReflectPadding) and layer.margin == 3
