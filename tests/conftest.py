"""What every test may ask for: real models and images from outside the repository, and a run."""

import fcntl
import os
import pathlib
import shutil

import pytest
from hypothesis import settings

from tests import commands
from tests.training import small

SMOKE = "--config=training/configs/simclr.py:smoke"
# The same examples in every run: a failure is of the change that is tested.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")
SHARED = pathlib.Path(os.environ.get("SASSL_SHARED", "../shared"))


# The files that take longest, the longest first: two processes share the files, and one that comes
# late leaves the other process idle at the end.
LONGEST = (
    "test_strategy.py",
    "test_pretrain.py",
    "test_input_pipeline.py",
    "test_data_service.py",
    "test_transfer.py",
    "test_magenta.py",
    "test_commands.py",
    "test_terminals_and_disks.py",
    "test_study.py",
    "test_compact.py",
    "test_backends.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


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


@pytest.fixture(scope="session", autouse=True)
def temporary_folder_of_our_own(tmp_path_factory):
    """TFDS leaves a folder for each dataset that is not prepared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="session")
def magenta_folder():
    return shared_path("magenta")


@pytest.fixture(scope="session")
def imagenette():
    return shared_path("data/imagenette128")


@pytest.fixture(scope="session")
def for_all_processes(tmp_path_factory):
    """A function `once(name, make)`: the folder `name`, filled by `make(folder)` in one process.

    It is a folder of all processes of the tests, for reading only.
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def once(name, make):
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = root / f"{name}.done"
            if not done.exists():
                shutil.rmtree(root / name, ignore_errors=True)  # another process failed to make it
                make(root / name)
                done.touch()
        return root / name

    return once


@pytest.fixture(scope="session")
def smoke_run(for_all_processes):
    """The finished workdir of SimCLR's smoke preset, and what the command told."""

    def make(folder):
        done = commands.run("training.pretrain", SMOKE, f"--workdir={folder / 'workdir'}")
        assert done.returncode == 0, done.stderr
        (folder / "output.txt").write_text(done.stderr + done.stdout)

    folder = for_all_processes("smoke_run", make)
    return folder / "workdir", (folder / "output.txt").read_text()


@pytest.fixture(scope="session")
def small_run(for_all_processes):
    """The finished workdir of a small pretraining, and its flags beside the smoke preset.

    What the command told is in `output.txt` beside the workdir.
    """

    def make(folder):
        small.write_images(folder / "images")
        flags = [SMOKE, *small.flags(folder / "images"), f"--workdir={folder / 'workdir'}"]
        # Measuring the input changes nothing: tests compare this run with those that do not.
        done = commands.run("training.pretrain", *flags, "--measure_input=0.2")
        assert done.returncode == 0, done.stderr
        (folder / "output.txt").write_text(done.stderr + done.stdout)

    folder = for_all_processes("small_run", make)
    return folder / "workdir", small.flags(folder / "images")
