"""Commands under the names that they had before."""

import importlib.util

import pytest

from tests import commands

OLD_NAMES = {
    "training.demo": "evaluation.demo",
    "training.export_encoder": "evaluation.export_encoder",
    "evaluation.style_grid": "evaluation.alpha_beta_grid",
}


@pytest.mark.parametrize(("old", "new"), OLD_NAMES.items())
def test_an_old_name_names_the_new_one(old, new):
    source = importlib.util.find_spec(old).loader.get_source(old)
    assert f'run_moved("{new}")' in source
    assert importlib.util.find_spec(new) is not None


def test_an_old_name_says_the_new_one_and_runs_it(tmp_path):
    flags = [f"--encoder={tmp_path / 'none'}", f"--output={tmp_path / 'exported'}"]
    done = commands.run("training.export_encoder", *flags)
    assert done.returncode == 1
    assert "called evaluation.export_encoder now" in done.stderr + done.stdout
    assert f"There is no encoder at {tmp_path / 'none'}" in done.stderr + done.stdout


def test_a_study_has_a_name_beside_pretrain():
    done = commands.run("training.study", "--study=nowhere.py", "--workdir=nowhere")
    assert done.returncode == 1 and "There is no file nowhere.py" in done.stderr + done.stdout
