"""Files under URLs: a file system of its own scheme, with the habits of a bucket."""

import contextlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import bucket as stand_in
from evaluation import knn
from evaluation.results import earlier_result, read_results
from evaluation.subject import load_subject
from sassl_tf import StyleBank
from sassl_tf.checked import (
    Damaged,
    cached,
    new_array,
    read_array,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)
from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import naming_damaged
from sassl_tf.errors import FileError
from sassl_tf.files import append, local_file, replacing
from sassl_tf.paths import RemotePath, as_path
from tests.datasets.record_files import encoded_images, example, write_shard
from tests.datasets.test_folder import class_folders
from tests.training.three_steps import encoder
from training.configs import simclr
from training.conversion.source import Source
from training.conversion.writers import write_shards
from training.engine import loop
from training.engine.checkpoints import Checkpoints
from training.engine.loop import pretrain
from training.engine.workdir import checkpoint_steps
from training.report import lines
from training.report.metrics import MetricsWriter, read_metrics

pytestmark = pytest.mark.skipif(not stand_in.can_be_compiled(), reason="needs the compiler g++")


@pytest.fixture
def store(tmp_path):
    """The local folder that is bucket://b."""
    stand_in.mount(tmp_path)
    (tmp_path / "b").mkdir()
    return tmp_path / "b"


@pytest.fixture
def denied(monkeypatch):
    monkeypatch.setenv("BUCKET_DENIED", "1")


def names(paths):
    return sorted(path.name for path in paths)


def test_paths_are_as_those_of_pathlib(store):
    for name in ("a/1.txt", "a/2.json", "a/.hidden-1.json", "b/c/3.txt", "top-1.json"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(name, "utf-8")
    url = as_path("bucket://b/")
    assert isinstance(url, RemotePath) and str(url / "a" / "1.txt") == "bucket://b/a/1.txt"
    for name in (".", "a", "a/1.txt", "b/c", "b/c/3.txt", "none", "a/none.txt"):
        here, there = store / name, url if name == "." else url / name
        assert (there.exists(), there.is_dir(), there.is_file()) == (
            here.exists(),
            here.is_dir(),
            here.is_file(),
        )
        if name != ".":
            parts = (there.name, there.stem, there.suffix, there.parent.name)
            assert parts == (here.name, here.stem, here.suffix, here.parent.name)
            assert there.with_name("x.y").name == "x.y"
        if here.is_dir():
            assert names(there.iterdir()) == names(here.iterdir())
    for pattern in ("*", "*.json", "*/*.txt", "*/*/*", "[!.]*-*.json", "none/*"):
        assert names(url.glob(pattern)) == names(store.glob(pattern)), pattern
    file = url / "a" / "1.txt"
    assert file.read_text() == "a/1.txt" and file.read_bytes() == b"a/1.txt"
    assert file.stat().st_size == 7
    assert file.stat().st_mtime_ns == (store / "a" / "1.txt").stat().st_mtime_ns
    assert url.parent == url and (url / "a").parent == url and {file} == {RemotePath(str(file))}
    assert as_path("~/x") == pathlib.Path("~/x").expanduser()
    file.unlink()
    assert not file.exists()
    file.unlink(missing_ok=True)
    missing = (file.unlink, file.stat, file.read_bytes, lambda: [*file.parent.parent.glob("x/*")])
    for call in missing[:3]:
        with pytest.raises(FileNotFoundError):
            call()
    assert missing[3]() == []


def test_files_are_whole_or_as_they_were(store):
    write_json("bucket://b/runs/a.json", {"x": 1})
    assert read_json("bucket://b/runs/a.json") == {"x": 1}
    with pytest.raises(KeyError), replacing("bucket://b/runs/a.json") as here:
        here.write_text("{")
        raise KeyError
    assert read_json("bucket://b/runs/a.json") == {"x": 1}
    for line in ("one\n", "two\n"):
        append("bucket://b/runs/log.txt", line)
    assert (store / "runs" / "log.txt").read_text() == "one\ntwo\n"
    with new_array("bucket://b/c.npy", (3, 2)) as array:
        array[:] = 7
    np.testing.assert_array_equal(read_array("bucket://b/c.npy"), np.full((3, 2), 7))
    write_arrays("bucket://b/d.npz", x=np.arange(3))
    np.testing.assert_array_equal(read_arrays("bucket://b/d.npz")["x"], np.arange(3))
    StyleBank(np.ones((2, 3)), "0").save("bucket://b/bank.npz")
    assert len(StyleBank.load("bucket://b/bank.npz")) == 2
    assert names(store.rglob("*")) == ["a.json", "bank.npz", "c.npy", "d.npz", "log.txt", "runs"]

    (store / "c.npy").write_bytes(b"half")
    with pytest.raises(Damaged, match=r"bucket://b/c\.npy is damaged"):
        read_array("bucket://b/c.npy")
    with pytest.warns(UserWarning, match="computed again"):
        assert cached(read_array, "bucket://b/c.npy") is None
    assert cached(read_json, "bucket://b/none.json") is None
    for read in (read_array, read_arrays):
        with pytest.raises(FileNotFoundError):
            read("bucket://b/none")
    with pytest.raises(FileNotFoundError), local_file("bucket://b/none"):
        pass


def test_a_whole_folder_is_refused_before_it_is_made(store):
    source = Source([], iter([("train", -1, b"\xff\xd8")]))
    with pytest.raises(FileError, match=r"in a bucket, where a folder cannot appear"):
        write_shards(source, "bucket://b/out")
    assert next(source.examples)


def test_a_bucket_without_credentials_is_told(store, denied):
    told = r"bucket://b\S* cannot be read or written: Error 401: no credentials.*GOOGLE_APPLICATION"
    for call in (
        lambda: load_dataset("records:bucket://b/x-*"),
        lambda: load_dataset("folder:bucket://b/x"),
        lambda: read_json("bucket://b/x.json"),
        lambda: write_json("bucket://b/x.json", {}),
        lambda: checkpoint_steps("bucket://b/run"),
    ):
        with pytest.raises(FileError, match=told):
            call()
    with pytest.raises(FileError, match=r"'?nowhere'? not implemented"):
        load_dataset("records:nowhere://b/x-*")


def test_datasets_are_those_of_the_disk(store, monkeypatch):
    class_folders(store / "pets" / "train", {"ant": 3, "bee": 2})
    class_folders(store / "pets" / "test", {"ant": 1})
    (store / "pets" / "train" / "ant" / "01.png").write_bytes(b"no image")
    images = encoded_images(9)
    for number in range(3):
        contents = [example(image, 1) for image in images[3 * number : 3 * number + 3]]
        write_shard(store / f"pets-{number}", contents)
    monkeypatch.setenv("SASSL_CACHE", "bucket://b/cache")
    for url, local in (
        ("folder:bucket://b/pets", f"folder:{store}/pets"),
        ("records:bucket://b/pets-*", f"records:{store}/pets-*"),
    ):
        with warnings_of_both(url):
            there, here = load_dataset(url), load_dataset(local)
        assert (there.fingerprint, there.listing) == (here.fingerprint, here.listing)
        assert there.labels.tolist() == here.labels.tolist()
        assert there.class_names == here.class_names
        for index in range(len(here)):
            np.testing.assert_array_equal(there.image(index), here.image(index))
    assert len(list((store / "cache").iterdir())) == 4
    (store / "pets-1").unlink()
    assert there.damaged() == [
        f"bucket://b/pets-1 at byte {offset}"
        for offset in np.cumsum([0, *(len(example(image, 1)) + 16 for image in images[3:5])])
    ]


def warnings_of_both(url):
    named = r"1 of 5 files .*ant/01\.png"
    return pytest.warns(UserWarning, match=named) if "folder" in url else contextlib.nullcontext()


@pytest.fixture
def state():
    return {"model": encoder(False)}


def test_checkpoints(store, state):
    weights = state["model"].weights[0]
    checkpoints = Checkpoints("bucket://b/run", state, keep=2)
    assert checkpoints.restore() == 0
    for step in (5, 10, 15):
        weights.assign(tf.fill(weights.shape, float(step)))
        checkpoints.save(step)
    assert checkpoint_steps("bucket://b/run") == [10, 15]
    folder = store / "run" / "checkpoints"
    # A run that is killed while it writes leaves this: no index, and TensorFlow's own folder.
    (folder / "ckpt-20_temp").mkdir()
    (folder / "ckpt-20_temp" / "part-00000-of-00001.data").write_bytes(b"half")
    (folder / "ckpt-20.data-00000-of-00001").write_bytes(b"half")
    weights.assign(tf.zeros(weights.shape))
    assert Checkpoints("bucket://b/run", state).restore() == 15
    assert (weights.numpy() == 15).all()
    # A damaged one falls back to the one before, and is removed by the next.
    data = next(folder.glob("ckpt-15.data*"))
    data.write_bytes(data.read_bytes()[:-100])
    assert checkpoints.restore() == 10 and (weights.numpy() == 10).all()
    checkpoints.save(12)
    assert checkpoint_steps("bucket://b/run") == [10, 12]
    assert not (folder / "ckpt-20_temp").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_others(store, state, monkeypatch):
    checkpoints = Checkpoints("bucket://b/run", state)
    checkpoints.save(5)
    monkeypatch.setattr(
        "training.engine.checkpoints.check_readable",
        lambda path: (_ for _ in ()).throw(tf.errors.DataLossError(None, None, "bits")),
    )
    with pytest.raises(FileError, match=r"step 10 could not be written .*steps \[5\] are whole"):
        checkpoints.save(10)
    assert checkpoints.restore() == 5


def test_a_bucket_that_does_not_answer_is_not_taken_for_damage(store, state, monkeypatch):
    checkpoints = Checkpoints("bucket://b/run", state)
    checkpoints.save(5)
    write_shard(store / "pets-0", [example(image) for image in encoded_images(3)])
    dataset = load_dataset("records:bucket://b/pets-0")
    told = r"cannot be read now: 503\. The same command"
    with pytest.raises(FileError, match=told), naming_damaged(dataset):
        raise tf.errors.UnavailableError(None, None, "503")
    monkeypatch.setenv("BUCKET_DENIED", "1")
    monkeypatch.setattr("training.engine.checkpoints.checkpoint_steps", lambda workdir: [5])
    with pytest.raises(FileError, match=r"ckpt-5\S* cannot be read .*Error 401"):
        checkpoints.restore()


def test_metrics_are_uploaded_now_and_then(store, monkeypatch):
    file = store / "run" / "metrics.jsonl"
    metrics = MetricsWriter("bucket://b/run", 0)
    for step in range(1, 4):
        metrics.write(step, {"loss": 1.0 / step})
    assert file.read_text() == ""  # within `UPLOAD_EVERY`
    metrics.flush()
    assert [row["step"] for row in read_metrics("bucket://b/run")] == [1, 2, 3]
    monkeypatch.setattr(lines, "UPLOAD_EVERY", 0.0)
    metrics.write(4, {"loss": 0.1})
    assert len(file.read_text().splitlines()) == 4
    metrics.close()
    assert list((store / "run").glob("events*"))
    assert [row["step"] for row in read_metrics(store / "run")] == [1, 2, 3, 4]
    MetricsWriter("bucket://b/run", 2).close()  # a run that continues after step 2
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [1, 2]


@pytest.mark.slow
def test_a_whole_run_and_its_evaluation(store, monkeypatch):
    """Images, workdir, results and features in the bucket; a second start continues."""
    monkeypatch.setattr(loop, "set_numerics", lambda config: None)  # for all later tests
    images = encoded_images(48)
    for split, numbers in (("train", range(32)), ("test", range(32, 48))):
        contents = [example(images[number], number % 2) for number in numbers]
        write_shard(store / f"pets-{split}-0", contents)
    config = simclr.get_config("smoke")
    config.dataset, config.image_size, config.batch_size = (
        "records:bucket://b/pets-{split}-*",
        16,
        8,
    )
    config.epochs, config.checkpoint_every, config.sassl.enabled = 2.0, 3, False
    run = pretrain(config, "bucket://b/run")
    assert run.start == 0 and checkpoint_steps("bucket://b/run") == [6, 8]
    assert pretrain(config, "bucket://b/run").start == 8
    written = {"config.json", "commands.txt", "metrics.jsonl", "views.png", "encoder.keras"}
    assert written <= {file.name for file in (store / "run").iterdir()}
    assert len((store / "run" / "commands.txt").read_text().splitlines()) == 2

    subject = load_subject("bucket://b/run", config.dataset)
    result = knn.run(subject, knn.Settings(k=3))
    assert read_results("bucket://b/run") == [result]
    assert len(list((store / "run" / "features").iterdir())) == 2
    assert earlier_result(subject, knn.Settings(k=3)) == result
