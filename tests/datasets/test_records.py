"""TFRecord shards: random access, what is remembered, and shards that are damaged."""

import gzip
import os
import warnings

import numpy as np
import pytest
import tensorflow as tf

from sassl_tf.datasets import MissingSplit, load_dataset
from sassl_tf.datasets import records as module
from sassl_tf.datasets.dataset import DamagedImages, joined, naming_damaged
from tests.datasets.record_files import (
    encoded_images,
    example,
    flip,
    places,
    write_shard,
)

IMAGES = encoded_images(12)
LABELS = [i % 3 for i in range(12)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SASSL_CACHE", str(home))
    return home


@pytest.fixture(autouse=True)
def no_warnings():
    """Unless a test expects one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def root(tmp_path):
    """Three shards of train, of which the second is empty, and one of test."""
    contents = [example(image, label) for image, label in zip(IMAGES, LABELS, strict=True)]
    for number, part in enumerate((contents[:5], [], contents[5:9])):
        write_shard(tmp_path / f"pets-train-{number}", part)
    write_shard(tmp_path / "pets-test-0", contents[9:])
    return tmp_path


def load(root, split="train"):
    return load_dataset(f"records:{root}/pets-{{split}}-*", split)


def pixels(image):
    return tf.io.decode_image(image, channels=3).numpy()


def read_all(dataset):
    images = tf.data.Dataset.range(len(dataset)).map(dataset.image, tf.data.AUTOTUNE)
    return list(images.as_numpy_iterator())


def assert_images(dataset, expected):
    for image, data in zip(read_all(dataset), expected, strict=True):
        np.testing.assert_array_equal(image, pixels(data))


def test_images_and_labels_of_each_split(root):
    train, test = load(root), load(root, "test")
    assert_images(train, IMAGES[:9])
    assert_images(test, IMAGES[9:])
    assert train.labels.tolist() == LABELS[:9] and test.labels.tolist() == LABELS[9:]
    assert train.class_names == test.class_names == ["0", "1", "2"]
    assert train.fingerprint == load(root).fingerprint != test.fingerprint
    both = joined(train, test)
    assert_images(both, IMAGES)
    np.testing.assert_array_equal(both.subset([11, 0]).image(0), pixels(IMAGES[11]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        train.image(9)


def test_the_same_images_as_in_folders(root, tmp_path):
    for number, (image, label) in enumerate(zip(IMAGES[:9], LABELS, strict=False)):
        file = tmp_path / "folder" / "train" / str(label) / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image)
    folder, train = load_dataset(f"folder:{tmp_path / 'folder'}"), load(root)
    order = np.argsort(train.labels, kind="stable")
    assert folder.labels.tolist() == train.labels[order].tolist()
    assert folder.class_names == train.class_names
    for image, number in zip(read_all(folder), order, strict=True):
        np.testing.assert_array_equal(image, train.image(number))


def test_places_are_those_found_by_hand(root):
    paths = sorted(root.glob("pets-train-*"))
    shards = module.look_at([str(path) for path in paths])
    found = module.places_of_records(shards, module.fields_of(shards))
    for path, part in zip(paths, found, strict=True):
        assert list(zip(part.offsets, part.lengths, strict=True)) == places(path)
        assert part.good.all()


def test_runs_of_neighbours_are_the_single_records(root):
    """Also over the borders of shards, around a bad record, and from the last to the first."""
    write_shard(root / "pets-train-3", [example(IMAGES[9]), b"no image", example(IMAGES[10])])
    many = [example(image) for image in encoded_images(200)]
    write_shard(root / "pets-train-4", many)
    with pytest.warns(UserWarning, match="Left out"):
        dataset = load(root)
    count = len(dataset)
    assert count == 211
    spec = tf.TensorSpec([4], tf.int64)
    run = tf.function(dataset.fetch_run, input_signature=[spec], autograph=False)
    for first in (0, 2, 4, 7, 8, 9, 60, count - 4, count - 2):
        indices = [(first + i) % count for i in range(4)]
        single = [dataset.fetch(tf.constant(i, tf.int64)).numpy() for i in indices]
        assert run(tf.constant(indices, tf.int64)).numpy().tolist() == single
    subset = dataset.subset(range(10, 20))
    several = subset.fetch_run(tf.constant([9, 0], tf.int64)).numpy().tolist()
    assert several == [dataset.fetch(tf.constant(i, tf.int64)).numpy() for i in (19, 10)]


def test_a_graph_holds_no_path_but_those_of_the_shards(tmp_path):
    write_shard(tmp_path / "long-name-of-a-shard", [example(image) for image in IMAGES * 20])
    dataset = load_dataset(f"records:{tmp_path}/long-*")
    images = tf.data.Dataset.range(240).map(dataset.image)
    graph = images._as_serialized_graph().numpy()
    assert graph.count(b"long-name-of-a-shard") == 1


def test_the_second_start_reads_nothing_and_a_new_shard_is_read_alone(root, monkeypatch):
    load(root)
    scanned = []
    scan = module.scan
    monkeypatch.setattr(
        module, "scan", lambda some, label_of: scanned.extend(some) or scan(some, label_of)
    )
    before = load(root)
    assert not scanned
    write_shard(root / "pets-train-2", [example(image, 0) for image in IMAGES[:4]])
    with pytest.warns(UserWarning, match=r"1 of 3 shards are others .*pets-train-2"):
        after = load(root)
    assert [shard.path for shard in scanned] == [f"{root}/pets-train-2"]
    assert_images(after, IMAGES[:5] + IMAGES[:4])
    assert after.fingerprint != before.fingerprint and after.listing != before.listing
    monkeypatch.setenv("SASSL_CACHE", str(root / "pets-test-0"))  # no folder: unwritable
    assert len(load(root)) == 9


def test_other_names_of_features(tmp_path):
    contents = [
        example(image, 7, "image/encoded", "image/class/label", thumbnail=IMAGES[0], name=b"x")
        for image in IMAGES
    ]
    write_shard(tmp_path / "a", contents)
    dataset = load_dataset(f"records:{tmp_path}/a")
    assert_images(dataset, IMAGES)
    assert dataset.labels.tolist() == [7] * 12 and len(dataset.class_names) == 8

    write_shard(tmp_path / "b", [example(image, 1, "picture", "kind") for image in IMAGES])
    dataset = load_dataset(f"records:{tmp_path}/b")
    assert_images(dataset, IMAGES)
    assert dataset.labels.tolist() == [-1] * 12 and dataset.class_names == []

    write_shard(tmp_path / "c", [example(IMAGES[0], None, "left", right=IMAGES[1])])
    with pytest.raises(ValueError, match=r"several features hold images \(left, right\)"):
        load_dataset(f"records:{tmp_path}/c")


def test_names_of_classes_lie_beside_the_shards(root):
    (root / "label.labels.txt").write_text("ant\nbee\ncat\ndog\n")
    assert load(root).class_names == ["ant", "bee", "cat", "dog"]
    (root / "label.labels.txt").write_text("ant\nbee\n")
    with pytest.raises(ValueError, match=r"labels .* go up to 2, and .* has 2 names"):
        load(root)


def test_odd_names_of_classes(root):
    """A line of the file ends where it ends for folders, not at every separator of Unicode."""
    names = ["a\x85b", "bee\u2028", "cat"]
    (root / "label.labels.txt").write_bytes("\r\n".join(names).encode())
    assert load(root).class_names == names
    (root / "label.labels.txt").write_bytes(b"ant\ncaf\xe9\ncat\n")
    with pytest.raises(ValueError, match=r"label\.labels\.txt is no UTF-8"):
        load(root)


def test_labels_after_records_without_one(tmp_path):
    """The first records, or the first shard, may lack a label that the others have."""
    contents = [example(image) for image in IMAGES[:4]]
    write_shard(tmp_path / "mixed-train-0", contents)
    write_shard(tmp_path / "mixed-train-1", [example(IMAGES[4], 1), example(IMAGES[5], 0)])
    mixed = load_dataset(f"records:{tmp_path}/mixed-{{split}}-*")
    assert mixed.labels.tolist() == [-1] * 4 + [1, 0] and mixed.class_names == ["0", "1"]


def test_a_test_split_without_labels_gives_way_to_validation(tmp_path):
    for split, labels in (("train", [0, 1]), ("test", [-1, -1, -1]), ("val", [1, 0])):
        images = IMAGES[: len(labels)]
        contents = [example(image, label) for image, label in zip(images, labels, strict=True)]
        write_shard(tmp_path / f"pets-{split}-0", contents)
    assert load(tmp_path, "test").labels.tolist() == [1, 0]
    with pytest.raises(MissingSplit, match="no validation split"):  # it is the test split
        load(tmp_path, "validation")
    write_shard(tmp_path / "pets-test-0", [example(IMAGES[0], 1)])
    with pytest.warns(UserWarning, match="are others than when they were last read"):
        assert load(tmp_path, "test").labels.tolist() == [1]
    assert load(tmp_path, "validation").labels.tolist() == [1, 0]


def test_splits_by_the_pattern(root):
    with pytest.raises(MissingSplit, match=r"\{split\} in the pattern"):
        load_dataset(f"records:{root}/pets-train-*", "test")
    with pytest.raises(MissingSplit, match="no validation split"):
        load(root, "validation")
    (root / "pets-test-0").rename(root / "pets-val-0")
    assert len(load(root, "test")) == 3
    with pytest.raises(MissingSplit, match="no validation split"):  # it is the test split
        load(root, "validation")
    write_shard(root / "pets-test-0", [example(IMAGES[0], 5)])
    assert len(load(root, "validation")) == 3 and len(load(root, "test")) == 1
    assert load(root).class_names == list("012345")  # of all splits


def test_classes_are_of_all_splits_under_a_relative_path_too(root, monkeypatch):
    write_shard(root / "pets-train-3", [example(IMAGES[0], 5)])
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(root))
    for pattern in ("records:pets-{split}-*", "records:~/pets-{split}-*"):
        assert load_dataset(pattern, "test").class_names == list("012345")


def test_labels_that_are_no_classes_are_told(tmp_path):
    write_shard(tmp_path / "pets-train-0", [example(IMAGES[0], 1_700_000_000)])
    with pytest.raises(ValueError, match=r"go up to 1700000000; .* an identifier"):
        load(tmp_path)


def test_nothing_matches(tmp_path):
    with pytest.raises(ValueError, match=r"No file matches records:.*/none-\*"):
        load_dataset(f"records:{tmp_path}/none-*")
    with pytest.raises(ValueError, match=r"It is a folder; give a pattern"):
        load_dataset(f"records:{tmp_path}")


def test_no_image_field(tmp_path):
    path = write_shard(tmp_path / "texts", [example(b"words", 1, "text")])
    with pytest.raises(ValueError, match=r"texts: none .* text \(bytes_list\)\."):
        load_dataset(f"records:{path}")
    write_shard(path, [b"\xff\xff"])
    with pytest.raises(ValueError, match=r"texts: none .* the first is no tf\.train\.Example"):
        load_dataset(f"records:{path}")
    write_shard(path, [])
    with pytest.raises(ValueError, match="there is no record"):
        load_dataset(f"records:{path}")


def many(path, count=250, changed=()):
    """Writes records of which those in `changed` have another content."""
    contents = [example(image) for image in encoded_images(count)]
    for position, content in dict(changed).items():
        contents[position] = content
    return write_shard(path, contents)


def test_wrong_checksums_are_left_out_and_named(tmp_path):
    path = many(tmp_path / "shard")
    (first, length), (last, _) = places(path)[0], places(path)[249]
    flip(path, first + 12 + length // 2)
    flip(path, last + 14)
    named = rf"2 of 250 records .*/shard at byte {first}, \S*/shard at byte {last}$"
    with pytest.warns(UserWarning, match=named):
        dataset = load_dataset(f"records:{path}")
    assert_images(dataset, encoded_images(250)[1:249])


def test_records_that_hold_no_image_are_left_out_and_named(tmp_path):
    images = encoded_images(250)
    changed = {7: example(b"", 3), 8: b"\xff", 249: example(images[0][:40])}
    path = many(tmp_path / "a", 250, [(8, changed[8])])
    many(tmp_path / "b", 250, changed.items())
    offsets = [places(path)[8][0], *(places(tmp_path / "b")[i][0] for i in changed)]
    with pytest.warns(UserWarning, match="4 of 500 records") as caught:
        dataset = load_dataset(f"records:{tmp_path}/[ab]")
    told = str(caught[0].message)
    assert all(f" at byte {offset}" in told for offset in offsets)
    good = [image for i, image in enumerate(images) if i != 8]
    assert_images(dataset, good + [image for i, image in enumerate(images) if i not in changed])


def test_more_than_one_percent_is_an_error(tmp_path):
    path = many(tmp_path / "shard", 250, [(i, b"") for i in (3, 5, 7, 9)])
    with pytest.raises(ValueError, match=r"4 of .*250 records|4 of the first"):
        load_dataset(f"records:{path}")
    path = many(tmp_path / "other")
    for offset, _ in places(path)[:50]:
        flip(path, offset + 14)
    with pytest.raises(ValueError, match=r"/other at byte 0\. Copy"):
        load_dataset(f"records:{path}")


def test_a_shard_that_is_cut_short(tmp_path):
    path = many(tmp_path / "shard", 20)
    data, (offset, _) = path.read_bytes(), places(path)[19]
    for size, reason in ((len(data) - 9, "longer than the rest"), (offset + 5, "within a record")):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=rf"/shard at byte {offset} of {size} .*{reason}"):
            load_dataset(f"records:{path}")


def test_a_damaged_length(tmp_path):
    path = many(tmp_path / "shard", 20)
    offset, _ = places(path)[4]
    flip(path, offset + 1)
    with pytest.raises(ValueError, match=rf"/shard at byte {offset} .*length is damaged"):
        load_dataset(f"records:{path}")


def test_other_files_than_shards(tmp_path):
    path = many(tmp_path / "shard", 5)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"/shard at byte 0 .*compressed \(gzip\)"):
        load_dataset(f"records:{path}")
    path.write_text("a,b,c\n" * 10)
    with pytest.raises(ValueError, match=r"/shard at byte 0 .*no TFRecord file.*narrower"):
        load_dataset(f"records:{path}")


def test_shards_that_change_after_the_start_are_named(root):
    dataset = load(root)
    images = tf.data.Dataset.range(9).map(dataset.image, tf.data.AUTOTUNE)
    path = root / "pets-train-2"
    whole, time, (offset, _) = path.read_bytes(), path.stat().st_mtime_ns, places(path)[2]

    def replace():
        write_shard(path, [example(image) for image in encoded_images(4, seed=9, kind="BMP")])

    def replace_by_no_image():
        stored = zip(IMAGES[5:9], LABELS[5:9], strict=True)
        write_shard(path, [example(bytes(len(image)), label) for image, label in stored])
        assert path.stat().st_size == len(whole)

    def flip_without_a_trace():
        flip(path, offset + 20)
        os.utime(path, ns=(time, time))

    for damage, named in (
        (path.unlink, r"^4 images .*/pets-train-2 at byte 0, "),
        (replace_by_no_image, r"^4 images .*/pets-train-2 at byte 0, "),
        (replace, r"^4 images .*/pets-train-2 at byte 0, "),
        (lambda: flip(path, offset + 20), rf"^1 images .*/pets-train-2 at byte {offset}\. Put"),
        (flip_without_a_trace, rf"^1 images .*/pets-train-2 at byte {offset}\. Put"),
    ):
        damage()
        with pytest.raises(DamagedImages, match=named) as error, naming_damaged(dataset):
            list(images)
        assert isinstance(error.value.__cause__, tf.errors.OpError)
        path.write_bytes(whole)
        os.utime(path, ns=(time, time))
        assert len(list(images)) == 9


def test_a_shard_that_cannot_be_opened_is_an_error_before_it_is_scanned(root):
    shards = module.look_at([str(path) for path in sorted(root.glob("pets-train-*"))])
    (root / "pets-train-2").unlink()
    with pytest.raises(OSError, match=r"pets-train-2 cannot be read .* See that it is there"):
        module.scan(shards, lambda record: record)


def test_an_error_of_the_network_is_not_taken_for_damage(root, monkeypatch):
    """Indexing raises it, and does not leave out the records that it kept from being read."""
    from sassl_tf.datasets import tfrecord

    def failing(paths, begins, buffer_size):
        raise tf.errors.UnavailableError(None, None, "the server does not answer")

    shards = module.look_at([str(root / "pets-train-0")])
    monkeypatch.setattr(tfrecord, "records_from", failing)
    with pytest.raises(
        OSError, match=r"pets-train-0 cannot be read .*: the server does not answer"
    ):
        tfrecord._bad_record(shards[0], 0, lambda record: record)
