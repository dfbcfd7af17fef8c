"""A Hub module with made-up weights, for every test of the stylizers."""

import pytest

from tests.stylizers.hub_module import made_up_variables, save_hub_module


@pytest.fixture(scope="session")
def made_up():
    """{name: array} of the module's variables; copy before changing."""
    return made_up_variables()


@pytest.fixture(scope="session")
def hub_folder(made_up, for_all_processes):
    """The module's SavedModel, for reading only."""
    return for_all_processes("hub_module", lambda folder: save_hub_module(folder, made_up))
