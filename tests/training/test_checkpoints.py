"""Checkpoints: which are kept, and what is left when one cannot be written or read."""

import resource
import signal

import keras
import numpy as np
import pytest

from training.engine.checkpoints import Checkpoints, state_of


def model(value=0.0):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2000, name="dense")])
    network.compile(keras.optimizers.SGD(0.1))
    network.optimizer.build(network.trainable_variables)
    network.layers[0].bias.assign(np.full(2000, value))
    return network


def bias(network):
    return float(network.layers[0].bias[0])


def save(folder, *steps, **options):
    """Checkpoints of the steps, each with its number as the bias."""
    network = model()
    checkpoints = Checkpoints(folder, state_of(network), **options)
    for step in steps:
        network.layers[0].bias.assign(np.full(2000, step))
        checkpoints.save(step)
    return checkpoints


def steps_in(folder):
    return sorted(int(file.stem.partition("-")[2]) for file in folder.glob("checkpoints/*.index"))


def restored(folder):
    network = model()
    return Checkpoints(folder, state_of(network)).restore(), bias(network)


def test_the_latest_and_every_nth_are_kept(tmp_path):
    save(tmp_path, *range(5, 45, 5), keep=2, keep_every=15)
    assert steps_in(tmp_path) == [15, 30, 35, 40]
    assert restored(tmp_path) == (40, 40)
    names = {file.name.partition(".")[0] for file in (tmp_path / "checkpoints").iterdir()}
    assert names == {"ckpt-15", "ckpt-30", "ckpt-35", "ckpt-40"}


def test_nothing_to_restore(tmp_path):
    assert restored(tmp_path) == (0, 0)


def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, capsys):
    save(tmp_path, 1, 2, 3, keep=3)
    data = tmp_path / "checkpoints/ckpt-3.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    (tmp_path / "checkpoints/ckpt-2.index").write_bytes(b"")
    assert restored(tmp_path) == (1, 1)
    said = capsys.readouterr()
    assert "ckpt-3 is damaged" in said.out + said.err and "ckpt-2 is damaged" in said.out + said.err
    for step in (1, 2, 3):
        (tmp_path / f"checkpoints/ckpt-{step}.index").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="None of the 3 checkpoints"):
        restored(tmp_path)


def test_damaged_newer_ones_do_not_push_out_what_is_saved_after_them(tmp_path):
    save(tmp_path, 10, 15, 20, keep=3)
    for step in (15, 20):
        (tmp_path / f"checkpoints/ckpt-{step}.index").write_bytes(b"")
    network = model()
    checkpoints = Checkpoints(tmp_path, state_of(network), keep=2)
    assert checkpoints.restore() == 10
    network.layers[0].bias.assign(np.full(2000, 12))
    checkpoints.save(12)
    assert steps_in(tmp_path) == [10, 12] and restored(tmp_path) == (12, 12)


def test_none_to_keep(tmp_path):
    with pytest.raises(ValueError, match="keep_checkpoints is 0"):
        save(tmp_path, 1, keep=0)


def test_a_full_disk_leaves_the_older_ones_whole(tmp_path):
    """Files may not grow over 5 kB, so that a write fails half way as on a full disk."""
    checkpoints = save(tmp_path, 1, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"step 3 could not .*the steps \[1, 2\] are whole"):
            checkpoints.save(3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert steps_in(tmp_path) == [1, 2] and restored(tmp_path) == (2, 2)
    assert not list(tmp_path.glob("checkpoints/.*"))
    checkpoints.save(3)
    assert restored(tmp_path)[0] == 3


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the folder's place")
    with pytest.raises(OSError, match=r"could not be written.*the steps \[\] are whole"):
        save(tmp_path, 1)


def test_what_a_kill_left_half_written_does_not_count(tmp_path):
    checkpoints = save(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    (folder / ".ckpt-2").mkdir()
    (folder / ".ckpt-2" / "ckpt-2.index").write_bytes(b"half")
    (folder / "ckpt-2.data-00000-of-00001").write_bytes(b"renamed, but not its index")
    assert restored(tmp_path) == (1, 1)
    checkpoints.save(2)
    assert restored(tmp_path)[0] == 2 and not (folder / ".ckpt-2").exists()


def test_data_without_an_index_is_removed(tmp_path):
    """As a kill leaves it between the two renames, or while an old checkpoint is removed."""
    save(tmp_path, 1, 2)
    (tmp_path / "checkpoints/ckpt-1.index").unlink()
    save(tmp_path, 3)
    left = {file.name.partition(".")[0] for file in (tmp_path / "checkpoints").iterdir()}
    assert left == {"ckpt-2", "ckpt-3"} and restored(tmp_path) == (3, 3)


def test_one_of_another_version_is_told(tmp_path):
    save(tmp_path, 1)
    network = keras.Sequential([model(), keras.layers.Dense(2)])
    network.compile(keras.optimizers.SGD(0.1))
    network.optimizer.build(network.trainable_variables)
    with pytest.raises(ValueError, match="lacks weights that this run has: another version"):
        Checkpoints(tmp_path, state_of(network)).restore()
