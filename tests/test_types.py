"""The public functions of the commands have types; mypy checks that these are right."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def public_functions(node, of_class=False):
    """Yields (function, its arguments) of a module or a class; self and cls are left out."""
    for child in node.body:
        name = getattr(child, "name", "_")
        if name.startswith("_") and not name.endswith("__"):
            continue
        if isinstance(child, ast.ClassDef):
            yield from public_functions(child, of_class=True)
        elif isinstance(child, ast.FunctionDef):
            given = child.args
            named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
            starred = [argument for argument in (given.vararg, given.kwarg) if argument]
            is_static = any(getattr(d, "id", "") == "staticmethod" for d in child.decorator_list)
            yield child, [*named[of_class and not is_static :], *starred]


@pytest.mark.parametrize("package", ["training", "evaluation"])
def test_public_functions_have_types(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    bare = [
        f"{file.relative_to(ROOT)}:{function.lineno} {function.name}"
        for file in files
        for function, arguments in public_functions(ast.parse(file.read_text()))
        if function.returns is None or any(a.annotation is None for a in arguments)
    ]
    assert not bare, "\n".join(bare)
