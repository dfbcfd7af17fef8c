"""The layers in `tf.data` on Keras's other backends, each in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from tests import commands

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 40, 52, 3), np.uint8)
SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf
from tests.test_backends import check_refusals, results

assert keras.backend.backend() == sys.argv[1], keras.backend.backend()
check_refusals()
np.savez(sys.argv[2], **results(sys.argv[3] == "True"))
"""


def results(with_views):
    """What the layers make of images in a pipeline, and of arrays."""
    tf.random.set_seed(None)  # those of map_with_seeds come from a global seed too, if one is set
    augment = sassl_tf.SASSLAugmentation(probability=1.0)
    layers = {"augment": augment}
    if with_views:  # which XLA compiles for seconds
        layers["views"] = sassl_tf.TwoViews("byol", size=24, augment=augment)
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).batch(3)
    found = {"stylizer": augment.stylizer.fingerprint, "precision": augment.working_precision}
    for name, layer in layers.items():
        made = next(iter(sassl_tf.map_with_seeds(dataset, layer, seed=0)))
        made = made if isinstance(made, dict) else {"images": made}
        found.update({f"{name}/{key}": value.numpy() for key, value in made.items()})
    flipped = sassl_tf.views.RandomFlip(probability=1.0)(IMAGES)
    assert (np.asarray(flipped) == IMAGES[:, :, ::-1]).all()
    assert (np.asarray(augment(IMAGES, training=False)) == IMAGES).all()
    return found


def check_refusals():
    """In a model, and on the backend's own arrays, the layer says where it belongs."""
    augment = sassl_tf.SASSLAugmentation()
    inside = (
        lambda: augment(keras.Input((8, 8, 3))),
        lambda: keras.Sequential([keras.Input((8, 8, 3)), augment]),
    )
    for call in inside:
        with pytest.raises(ValueError, match=r"cannot be part of a \w+ model: use it in the input"):
            call()


def results_of_a_process(backend, with_views, folder):
    """What `results` returns in a process with this backend, and what it refuses there."""
    file = folder / f"{backend}.npz"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, backend, file, str(with_views)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    assert "AutoGraph" not in done.stderr
    with np.load(file) as found:
        return dict(found)


@pytest.mark.parametrize(
    ("backend", "with_views"),
    [
        ("jax", False),
        pytest.param("jax", True, marks=pytest.mark.slow),
        pytest.param("torch", True, marks=pytest.mark.slow),
    ],
)
def test_the_views_are_those_of_tensorflow(backend, with_views, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    expected = results(with_views)
    found = results_of_a_process(backend, with_views, tmp_path)
    assert {*found} == {*expected}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_commands_need_tensorflow():
    program = "import runpy, keras\nkeras.backend.backend = lambda: 'numpy'\n"
    program += "runpy.run_module('evaluation.alpha_beta_grid', run_name='__main__')"
    done = commands.run_program(program, "--images=x")
    assert done.returncode == 1 and "KERAS_BACKEND is numpy, and the commands run" in done.stderr
