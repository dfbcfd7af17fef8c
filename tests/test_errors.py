"""Errors for people keep their class, through the layers that raise them again."""

import ast
import pathlib

import keras
import pytest
import tensorflow as tf

from sassl_tf.errors import FileError, NetworkError, PackageError, UserError

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("kind", "documented"),
    [
        (UserError, ValueError),
        (FileError, OSError),
        (NetworkError, ConnectionError),
        (PackageError, ImportError),
    ],
)
def test_an_error_is_also_what_the_docstrings_say(kind, documented):
    error = kind("a.txt is damaged.")
    assert isinstance(error, UserError) and isinstance(error, documented)
    assert str(error) == "a.txt is damaged."


def refuse(_):
    raise UserError("The images are grey.")


class Refusing(keras.layers.Layer):
    def call(self, images):
        return refuse(images)


@pytest.mark.parametrize(
    "trace",
    [
        lambda: tf.data.Dataset.range(1).map(refuse),
        lambda: tf.data.Dataset.range(1).map(lambda x: Refusing()(x)),
        lambda: tf.function(refuse)(1),
        lambda: Refusing()(tf.zeros((1, 2))),
    ],
)
def test_a_traced_function_raises_the_same_class(trace):
    """AutoGraph and Keras raise an error of traced code again, and may change its class."""
    with pytest.raises(UserError, match="The images are grey"):
        trace()


@pytest.mark.parametrize("package", ["sassl_tf", "training", "evaluation", "benchmarks"])
def test_our_packages_raise_errors_for_people(package):
    """A plain ValueError or OSError would be shown with its traceback, as a bug."""
    plain = {"ValueError", "OSError", "ConnectionError", "ImportError", "RuntimeError"}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                assert getattr(node.exc.func, "id", "") not in plain, f"{file}:{node.lineno}"
