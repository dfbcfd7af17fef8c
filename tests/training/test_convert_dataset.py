"""Datasets written anew: every image, in its class and its split, as it was stored."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from sassl_tf.datasets import load_dataset
from tests import commands
from tests.datasets.test_tfds import IMAGES, labelled, store
from training.conversion.packs import packed_images
from training.conversion.source import Source
from training.conversion.writers import write_folders, write_shards
from training.convert_dataset import source_of


def jpeg(image):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def pack(tmp_path):
    columns = {"class_names": np.array(["dog", "cat"])}
    for split, images in (("train", IMAGES[:8]), ("test", IMAGES[8:])):
        files = [jpeg(image) for image in images]
        columns[f"jpeg_{split}"] = np.frombuffer(b"".join(files), np.uint8)
        columns[f"offsets_{split}"] = np.cumsum([0, *map(len, files)])
        columns[f"y_{split}"] = np.arange(len(images)) % 2
    np.savez(tmp_path / "pack.npz", **columns)
    return tmp_path / "pack.npz"


def run(*flags):
    return commands.run("training.convert_dataset", *flags)


def test_a_pack(pack, tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    done = run(f"--source={pack}", f"--output={tmp_path / 'out'}")
    assert f"12 images. Use them as folder:{tmp_path / 'out'}" in done.stdout, done.stderr
    train = load_dataset(f"folder:{tmp_path / 'out'}", "train")
    test = load_dataset(f"folder:{tmp_path / 'out'}", "test")
    assert train.class_names == ["cat", "dog"] and (len(train), len(test)) == (8, 4)
    # By class, then in the order of the pack: its odd images are cats.
    order = [1, 3, 5, 7, 0, 2, 4, 6]
    assert train.labels.tolist() == [0] * 4 + [1] * 4
    for position, number in enumerate(order):
        expected = np.asarray(Image.open(io.BytesIO(jpeg(IMAGES[number]))))
        np.testing.assert_array_equal(train.image(position), expected)


def test_a_dataset_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    splits = {
        "train": labelled(IMAGES[:6], [0, 1, 2, 0, 1, 2]),
        "validation": labelled(IMAGES[6:9], [2, 1, 0]),
        "test": labelled(IMAGES[9:], [-1, -1, -1]),  # without labels: left out
    }
    store(tmp_path, "insects", splits, image="image", label="label")
    done = run("--source=tfds:insects", f"--data_dir={tmp_path}", f"--output={tmp_path / 'out'}")
    assert "9 images" in done.stdout, done.stderr
    for split in ("train", "test"):
        folders = load_dataset(f"folder:{tmp_path / 'out'}", split)
        stored = load_dataset("tfds:insects", split, data_dir=tmp_path)
        order = np.argsort(stored.labels, kind="stable")
        assert folders.class_names == stored.class_names
        for position, number in enumerate(order):
            np.testing.assert_array_equal(folders.image(position), stored.image(number))


@pytest.fixture
def insects(tmp_path):
    """A dataset of TFDS as ArrayRecord, which cannot be read in a graph."""
    splits = {
        "train": labelled(IMAGES[:6], [0, 1, 2, 0, 1, 2]),
        "test": labelled(IMAGES[6:], [-1] * 6),
    }
    features = {"image": "image", "label": "label"}
    store(tmp_path / "tfds", "insects", splits, file_format="array_record", **features)
    return tmp_path / "tfds"


def test_array_records_to_shards(insects, tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"prepared as array_record.*--format=records"):
        load_dataset("tfds:insects", data_dir=insects)
    source = source_of("tfds:insects", str(insects))
    assert write_shards(source, tmp_path / "out", shard_bytes=1000) == 12
    assert len(list((tmp_path / "out").glob("train-*.tfrecord"))) > 1
    train = load_dataset(f"records:{tmp_path / 'out'}/{{split}}-*")
    test = load_dataset(f"records:{tmp_path / 'out'}/{{split}}-*", "test")
    assert train.class_names == ["ant", "bee", "cat"]
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2] and test.labels.tolist() == [-1] * 6
    for dataset, images in ((train, IMAGES[:6]), (test, IMAGES[6:])):
        for position, image in enumerate(images):
            np.testing.assert_array_equal(dataset.image(position), image)


def test_folders_to_shards(pack, tmp_path, monkeypatch):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path / "cache"))
    write_folders(packed_images(pack), tmp_path / "folders")
    assert write_shards(source_of(f"folder:{tmp_path / 'folders'}"), tmp_path / "out") == 12
    for split in ("train", "test"):
        folder = load_dataset(f"folder:{tmp_path / 'folders'}", split)
        shards = load_dataset(f"records:{tmp_path / 'out'}/{{split}}-*", split)
        assert shards.class_names == folder.class_names
        order = np.random.default_rng(0).permutation(len(folder))
        for position, number in enumerate(order):
            assert shards.labels[position] == folder.labels[number]
            np.testing.assert_array_equal(shards.image(position), folder.image(number))


def test_tars_to_shards(tmp_path):
    files = [jpeg(image) for image in IMAGES]
    for shard, part in enumerate((files[:7], files[7:])):
        with tarfile.open(tmp_path / f"pets-{shard}.tar", "w") as archive:
            for number, data in enumerate(part):
                for suffix, content in ((".json", b"{}"), (".JPG", data), (".cls", b"%d" % number)):
                    member = tarfile.TarInfo(f"a.b/{number:03}{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    names, examples = source_of(f"tar:{tmp_path}/pets-*.tar")
    assert names == []
    labels = [*range(7), *range(5)]
    assert list(examples) == [
        ("train", label, data) for label, data in zip(labels, files, strict=True)
    ]
    cut = tmp_path / "pets-1.tar"
    cut.write_bytes(cut.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"pets-1\.tar is no whole tar file"):
        list(source_of(f"tar:{tmp_path}/pets-*.tar").examples)
    with pytest.raises(ValueError, match=r"No file matches tar:"):
        source_of(f"tar:{tmp_path}/none-*.tar")


def test_each_tar_file_is_of_one_split(tmp_path):
    """val* is the pattern of validation-0.tar too."""
    for number, split in enumerate(("train", "validation")):
        with tarfile.open(tmp_path / f"pets-{split}-0.tar", "w") as archive:
            for suffix, content in ((".jpg", jpeg(IMAGES[number])), (".cls", b"%d" % number)):
                member = tarfile.TarInfo(f"a{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    found = source_of(f"tar:{tmp_path}/pets-{{split}}*.tar").examples
    assert sorted((split, label) for split, label, _ in found) == [("train", 0), ("validation", 1)]


def test_a_damaged_header_does_not_end_a_tar_file(tmp_path):
    path = tmp_path / "a.tar"
    data = jpeg(IMAGES[0])
    tar_of(path, [(f"{number}.jpg", data) for number in range(4)])
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        header = archive.getmembers()[2].offset
    damaged = bytearray(whole)
    damaged[header] ^= 1
    for content in (bytes(damaged), whole[:header], whole[: header + 100]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.tar is no whole tar file .*header"):
            list(source_of(f"tar:{path}").examples)
    path.write_bytes(whole)
    assert len(list(source_of(f"tar:{path}").examples)) == 4


def test_an_output_that_exists_is_told_before_the_source_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "out").mkdir()
    done = commands.run("training.convert_dataset", "--source=nothing", "--output=~/out")
    assert done.returncode == 1 and "exists already" in done.stderr
    write_folders(labelled_as(("train", "a", jpeg(IMAGES[0]))), "~/new")
    assert (tmp_path / "new" / "train" / "a").is_dir()


def tar_of(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "elsewhere.jpg"
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))


def test_tars_that_would_lose_labels_or_images(tmp_path):
    data = jpeg(IMAGES[0])
    tar_of(tmp_path / "a.tar", [("0.jpg", data), ("1.jpg", data), ("0.cls", b"1")])
    with pytest.raises(ValueError, match=r"a label of 0 without its image beside it.*--sort=name"):
        list(source_of(f"tar:{tmp_path}/a.tar").examples)
    tar_of(tmp_path / "b.tar", [("0.jpg", None)])
    with pytest.raises(ValueError, match=r"0\.jpg in .*b\.tar is a link to elsewhere\.jpg"):
        list(source_of(f"tar:{tmp_path}/b.tar").examples)


def test_names_that_would_not_be_read_back_are_told_first(tmp_path):
    for name, told in (("caf\udce9", "no UTF-8"), ("a\nb", "line break"), (" a", "blanks")):
        examples = iter([("train", 0, b"")])
        with pytest.raises(ValueError, match=told):
            write_shards(Source([name], examples), tmp_path / "out")
        assert len(list(examples)) == 1 and not (tmp_path / "out").exists()


def test_loose_train_images_beside_test_classes_keep_their_names(tmp_path):
    for place in ("train", "test/ant", "test/bee"):
        (tmp_path / "images" / place).mkdir(parents=True)
        (tmp_path / "images" / place / "0.jpg").write_bytes(jpeg(IMAGES[0]))
    assert source_of(f"folder:{tmp_path / 'images'}").class_names == ["ant", "bee"]


def labelled_as(*examples):
    """Returns the `Source` of (split, class name, encoded image)."""
    names = sorted({name for _, name, _ in examples})
    return Source(names, ((split, names.index(name), data) for split, name, data in examples))


def test_a_name_with_a_slash_is_one_folder(tmp_path):
    source = labelled_as(("train", "/a/abbey", jpeg(IMAGES[0])))
    assert write_folders(source, tmp_path / "out") == 1
    assert (tmp_path / "out" / "train" / "a_abbey" / "00000000.jpg").is_file()


def test_nothing_is_left_of_what_fails(pack, tmp_path):
    good = ("train", "a", jpeg(IMAGES[0]))
    for write in (write_folders, write_shards):
        with pytest.raises(ValueError, match=r"Image 1 \(validation, .\) is not a JPEG, PNG"):
            write(labelled_as(good, ("validation", "b", b"text")), tmp_path / "out")
        with pytest.raises(ValueError, match=r"no (labelled )?images to write"):
            write(Source([], iter([])), tmp_path / "out")
    for name in ("a_b", "..", ".hidden", "/"):
        source = labelled_as(("train", "a/b", good[2]), ("train", name, good[2]))
        with pytest.raises(ValueError, match=f"class '(a/b|{name})' cannot have a folder"):
            write_folders(source, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["pack.npz"]
    (tmp_path / "out").mkdir()
    for write in (write_folders, write_shards):
        with pytest.raises(ValueError, match="exists already"):
            write(labelled_as(good), tmp_path / "out")
    np.savez(tmp_path / "other.npz", images=IMAGES)
    for file in (tmp_path / "other.npz", tmp_path / "missing.npz", tmp_path / "out"):
        with pytest.raises(ValueError, match="not a pack of images"):
            packed_images(file)
    columns = dict(np.load(pack))
    for changed, message in (
        ({"y_train": np.arange(8)}, "labels are from 0 to 7"),
        ({"offsets_test": columns["offsets_test"][1:]}, "expected one offset more than labels"),
    ):
        np.savez(tmp_path / "other.npz", **{**columns, **changed})
        with pytest.raises(ValueError, match=message):
            packed_images(tmp_path / "other.npz")
    np.savez(tmp_path / "other.npz", **{**columns, "y_train": np.array([0, 1, -1] + [1] * 5)})
    examples = packed_images(tmp_path / "other.npz").examples
    assert [label for _, label, _ in examples][:8] == [0, 1, -1] + [1] * 5
    assert "expected tfds:NAME, folder:PATH" in run("--source=x", "--output=y").stderr
