"""The package as a whole: its import, its public names, their types, what a wheel of it holds."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys
import typing

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import sassl_tf
from sassl_tf.datasets import ImageDataset

ROOT = pathlib.Path(__file__).parents[1]
PUBLIC = [name for name in sassl_tf.__all__ if name != "__version__"]


def test_the_import_is_light():
    code = (
        "import sys, sassl_tf; print(*(m for m in ('keras_cv', 'tensorflow') if m in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_public_names_exist():
    for name in sassl_tf.__all__:
        assert getattr(sassl_tf, name) is not None
    assert set(sassl_tf.__all__) <= set(dir(sassl_tf))
    assert not hasattr(sassl_tf, "nothing")


def test_type_checkers_see_the_names_that_are_loaded_lazily():
    """The imports for type checkers, which nothing runs, give the same objects."""
    tree = ast.parse(pathlib.Path(sassl_tf.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in imports
        if node.module.startswith("sassl_tf.")
        for alias in node.names
    }
    assert seen == {name: getattr(sassl_tf, name) for name in PUBLIC}


def public_functions(value):
    """`{name: function}`: itself, or the constructor and the public methods of a class."""
    if inspect.isfunction(value):
        return {value.__name__: value}
    members = {name: getattr(member, "__func__", member) for name, member in vars(value).items()}
    return {
        f"{value.__name__}.{name}": member
        for name, member in members.items()
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_"))
    }


@pytest.mark.parametrize("name", [*PUBLIC, "ImageDataset"])
def test_signatures_are_annotated(name):
    functions = public_functions(
        ImageDataset if name == "ImageDataset" else getattr(sassl_tf, name)
    )
    assert functions
    for function_name, function in functions.items():
        expected = {*inspect.signature(function).parameters, "return"} - {"self", "cls"}
        # Resolved: a name that only a type checker could find would fail here.
        assert set(typing.get_type_hints(function)) == expected, function_name


def test_a_wheel_would_hold_every_file_of_the_package_and_no_other(tmp_path):
    command = ["egg_info", f"--egg-base={tmp_path}", "build_py", f"--build-lib={tmp_path / 'lib'}"]
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", *command], cwd=ROOT, capture_output=True, check=True
    )

    def files(folder):
        return {
            str(file.relative_to(folder))
            for file in folder.rglob("*")
            if file.is_file() and file.suffix != ".pyc"
        }

    shipped = files(tmp_path / "lib")
    assert shipped == {f"sassl_tf/{file}" for file in files(ROOT / "sassl_tf")}
    assert {"sassl_tf/py.typed", "sassl_tf/stylizers/weights/MODEL_CARD.md"} <= shipped


def test_imports_run_one_way():
    """The contracts of pyproject.toml, which `make lint` checks as well."""
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS
