"""Every command of README and docs: those of the README are run, of the others flags are parsed."""

import json
import os
import shlex
import stat
import subprocess
import sys

import pytest

from tests.docs.pages import FENCE, PAGES, ROOT, blocks, name, with_blocks, write_images

pytestmark = pytest.mark.docs

# Those of the README are run for real, made small by these; of other pages the flags are parsed.
RUN = [ROOT / "README.md"]
SMALLER = {
    ":imagenette": ":smoke",
    "folder:PATH": "folder:images",
    "few_shot_1,few_shot_10": "few_shot_1",
    "seed in 0 1 2": "seed in 0",
}
SHIM = """#!{python}
import json, os, sys
with open({record!r}, "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""


@pytest.mark.parametrize("page", with_blocks("sh"), ids=name)
def test_commands_exist_and_know_their_flags(page, tmp_path):
    """The shell runs the block; what it calls is written down, and each is looked at."""
    record = tmp_path / "record.jsonl"
    for command in ("python", "make", "pip", "tensorboard", "git"):
        shim = tmp_path / command
        shim.write_text(SHIM.format(python=sys.executable, record=str(record)))
        shim.chmod(shim.stat().st_mode | stat.S_IEXEC)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    for block in blocks(page, "sh"):
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    commands = [json.loads(line) for line in record.read_text().splitlines()]
    assert commands
    makefile = (ROOT / "Makefile").read_text()
    for program, *arguments in commands:
        if program == "make":
            assert f"\n{arguments[0]}:" in makefile, arguments
    modules = [arguments[1:] for program, *arguments in commands if arguments[:1] == ["-m"]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.parse_flags"],
        cwd=ROOT,
        input=json.dumps(modules),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", RUN, ids=name)
def test_commands_for_real(page, tmp_path):
    write_images(tmp_path / "images" / "train", count=20)
    write_images(tmp_path / "images" / "test", count=5)
    for folder in ("training", "evaluation"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for block in blocks(page, "sh"):
        if "python -m" not in block:
            continue
        for long, short in SMALLER.items():
            block = block.replace(long, short)
        block = block.replace("make setup && . .venv/bin/activate\n", "")
        block = block.replace("python -m", f"{shlex.quote(sys.executable)} -m")
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "report" / "report.md").exists()
    told = (tmp_path / "report" / "report.md").read_text()
    assert all(protocol in told for protocol in ("linear_probe", "knn", "few_shot"))
    assert (tmp_path / "runs" / "sassl-0" / "encoder.keras").exists()


def test_no_block_is_passed_over():
    """Without a language a block is a sketch; Python and commands say that they are."""
    for page in PAGES:
        languages = {language for language, _ in FENCE.findall(page.read_text())}
        assert languages <= {"", "bibtex", "python", "sh"}, page
        assert not any("python -m" in sketch for sketch in blocks(page, "")), page
