"""The second writing of Magenta's v1-256, against what Magenta's own graph computes."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.stylizers.hub_module import code, save_hub_module, something_else, stylize


@pytest.fixture(scope="module")
def golden(magenta_folder):
    with np.load(magenta_folder / "golden_v1_256.npz") as file:
        return {name: file[name] for name in file}


@pytest.fixture(scope="module")
def loaded(hub_folder):
    return tf.saved_model.load(str(hub_folder))


def images(count, height, width, seed=0):
    return np.random.default_rng(seed).random((count, height, width, 3), np.float32)


def test_names_and_shapes_are_magentas(made_up, magenta_folder):
    expected = json.loads((magenta_folder / "variables_v1_256.json").read_text())
    assert [[name, list(array.shape)] for name, array in made_up.items()] == expected
    assert all(array.dtype == np.float32 for array in made_up.values())


@pytest.mark.parametrize("case", ["square", "odd", "broadcast"])
def test_output_is_magentas(made_up, loaded, golden, case):
    content, style = (
        tf.constant(golden[f"{case}_{kind}"].astype(np.float32) / 255)
        for kind in ("content", "style")
    )
    np.testing.assert_allclose(code(made_up, style), golden[f"{case}_code"], atol=1e-4)
    expected = golden[f"{case}_stylized"]
    np.testing.assert_allclose(stylize(made_up, content, style), expected, atol=1e-4)
    np.testing.assert_allclose(loaded(content, style)[0], expected, atol=1e-4)


def test_loaded_module_has_the_form_of_magentas(made_up, loaded):
    assert len(loaded.variables) == 359
    assert [variable.name for variable in loaded.variables] == [f"{name}:0" for name in made_up]
    for variable, array in zip(loaded.variables, made_up.values(), strict=True):
        np.testing.assert_array_equal(variable, array)
    assert list(loaded.signatures) == ["serving_default"]
    serve = loaded.signatures["serving_default"]
    inputs = serve.structured_input_signature[1]
    assert sorted(inputs) == ["placeholder", "placeholder_1"]
    for spec in inputs.values():
        assert spec.dtype == tf.float32 and spec.shape.as_list() == [None, None, None, 3]
    assert list(serve.structured_outputs) == ["output_0"]


def test_loaded_module_and_its_signature_stylize(made_up, loaded):
    content, style = tf.constant(images(2, 37, 42)), tf.constant(images(2, 50, 43, seed=1))
    expected = stylize(made_up, content, style)
    assert expected.shape == (2, 40, 44, 3)
    called = loaded(content, style)
    assert len(called) == 1
    np.testing.assert_allclose(called[0], expected, atol=1e-4)
    served = loaded.signatures["serving_default"](placeholder=content, placeholder_1=style)
    np.testing.assert_allclose(served["output_0"], expected, atol=1e-4)


def test_variables_and_graph_may_be_others(tmp_path):
    others = {"stranger/weights": np.ones([2, 3], np.float32)}
    save_hub_module(tmp_path, others, something_else)
    module = tf.saved_model.load(str(tmp_path))
    (variable,) = module.variables
    assert variable.name == "stranger/weights:0" and variable.shape == (2, 3)
    content, style = tf.constant(images(1, 16, 16)), tf.constant(images(1, 43, 43, seed=1))
    expected = (content + np.mean(style)) / 2
    np.testing.assert_allclose(module(content, style)[0], expected, atol=1e-5)
