"""What every test may ask for: the real models and images that live outside the repository."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

SHARED = pathlib.Path(os.environ.get("SASSL_SHARED", "../shared"))


def shared_path(relative):
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"{path} is not here (set SASSL_SHARED to the folder that holds it)")
    return path


@pytest.fixture(scope="session", autouse=True)
def cache_of_our_own(tmp_path_factory):
    """What is remembered of folders stays out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SASSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def magenta_folder():
    return shared_path("magenta")


@pytest.fixture(scope="session")
def imagenette():
    return shared_path("data/imagenette128")
