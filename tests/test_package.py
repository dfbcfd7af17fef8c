"""The package as a whole: its import, its public names."""

import subprocess
import sys

import sassl_tf


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
