"""Files are whole or not there, and nothing is left of what was killed."""

import concurrent.futures
import os
import signal

import pytest

from sassl_tf import files
from sassl_tf.files import append, replacing
from tests import commands


def test_a_file_takes_the_place_of_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with replacing(path) as beside:
            beside.write_text(text)
            assert beside.suffix == ".txt" and beside.parent == path.parent
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert [*path.parent.iterdir()] == [path]


def test_what_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as beside:
        beside.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]


def test_a_folder(tmp_path):
    with replacing(tmp_path / "folder") as beside:
        beside.mkdir()
        (beside / "a").write_text("a")
    assert (tmp_path / "folder" / "a").read_text() == "a"
    with pytest.raises(KeyError), replacing(tmp_path / "other") as beside:
        beside.mkdir()
        raise KeyError
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_what_a_process_of_the_same_numbers_left_is_not_taken_over(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as beside:
        beside.write_text("old")
    beside.write_text("half")
    with replacing(path) as again:
        assert again == beside and not again.exists()
        again.write_text("new")
    assert path.read_text() == "new"


def test_threads_write_files_of_their_own(tmp_path):
    path = tmp_path / "a.txt"

    def write():
        with replacing(path) as beside:
            beside.write_text("theirs")
        return beside

    with replacing(path) as beside, concurrent.futures.ThreadPoolExecutor(1) as pool:
        beside.write_text("ours")
        assert pool.submit(write).result() != beside
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours"


def test_what_another_container_writes_stays(tmp_path, monkeypatch):
    """Its processes are not seen from here, and may have the numbers of ours."""
    path = tmp_path / "a.txt"
    monkeypatch.setattr(files, "_container", lambda: 17)
    with replacing(path) as theirs:
        theirs.mkdir()
        (theirs / "part").write_text("theirs")
        monkeypatch.undo()
        with replacing(path) as ours:
            assert ours != theirs
            ours.write_text("ours")
        assert theirs.exists()
        # After a day without a change in it, it was left by a container that is gone.
        for part in (theirs, theirs / "part"):
            assert theirs.exists()
            os.utime(part, (0, 0))
            with replacing(path) as ours:
                ours.write_text("ours")
        assert not theirs.exists()
        theirs.write_text("theirs")


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    path = tmp_path / "commands.txt"
    for _ in range(2):
        append(path, os.fsdecode(b"--dataset=folder:caf\xe9\n"))
    assert path.read_bytes() == 2 * b"--dataset=folder:caf\xe9\n"


WRITER = """
import os, pathlib, signal, sys
from sassl_tf.files import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "a.txt"
    assert commands.run_program(WRITER, path).returncode == -signal.SIGKILL
    assert len([*tmp_path.iterdir()]) == 1 and not path.exists()
    with replacing(path) as beside:
        # What is another file's, or a living process's, stays.
        others = [beside.with_name(beside.name.replace(*pair)) for pair in (("a.", "b."),)]
        others.append(beside.with_name(beside.name.replace(str(os.getpid()), str(os.getppid()))))
        for other in others:
            other.write_text("")
        beside.write_text("new")
    with replacing(path) as beside:
        beside.write_text("newer")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
