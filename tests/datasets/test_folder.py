import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sassl_tf.datasets import MissingSplit
from sassl_tf.datasets import failing as failing_module
from sassl_tf.datasets import folder as module
from sassl_tf.datasets.failing import failing
from sassl_tf.datasets.folder import folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SASSL_CACHE", str(home))
    return home


def picture(shade=0):
    y, x = np.mgrid[0:20, 0:28]
    return Image.fromarray(np.stack([x * 9, y * 12, x + y + shade], axis=-1).astype(np.uint8))


def put(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(shade).save(path)


def class_folders(root, counts):
    for name, count in counts.items():
        for i in range(count):
            put(root / name / f"{i:02}.png", shade=i)
    return root


def test_splits_and_labels_mean_the_same_in_both(tmp_path):
    class_folders(tmp_path / "train", {"ant": 2, "bee": 1, "cat": 3})
    class_folders(tmp_path / "val", {"ant": 1, "cat": 1})
    train, test = folder(tmp_path, "train"), folder(tmp_path, "test")
    assert train.class_names == test.class_names == ["ant", "bee", "cat"]
    assert train.labels.tolist() == [0, 0, 1, 2, 2, 2] and test.labels.tolist() == [0, 2]
    assert train.labels.dtype == np.int64 and len(train) == 6
    assert train.fingerprint != test.fingerprint
    np.testing.assert_array_equal(train.image(5), np.asarray(picture(2)))

    with pytest.raises(MissingSplit, match="a folder val beside a folder test"):
        folder(tmp_path, "validation")
    class_folders(tmp_path / "test", {"bee": 2})  # goes before val
    assert folder(tmp_path, "test").labels.tolist() == [1, 1]
    assert folder(tmp_path, "validation").labels.tolist() == [0, 2]


def test_a_test_folder_without_labels_gives_way_to_val(tmp_path):
    """As ImageNet lies on a disk."""
    class_folders(tmp_path / "train", {"ant": 2, "bee": 1})
    class_folders(tmp_path / "val", {"ant": 1, "bee": 1})
    put(tmp_path / "test" / "0.png")
    with pytest.warns(UserWarning, match="test"):
        test = folder(tmp_path, "test")
    assert test.labels.tolist() == [0, 1] and test.class_names == ["ant", "bee"]
    with pytest.raises(MissingSplit):  # val is not two splits at once
        folder(tmp_path, "validation")


def test_every_fifth_of_each_class_is_test(tmp_path):
    # "train" here is a class among others.
    root = class_folders(tmp_path, {"boat": 11, "train": 5, "bus": 4})
    train, test = folder(root, "train"), folder(root, "test")
    assert np.bincount(train.labels).tolist() == [9, 4, 4] and test.labels.tolist() == [0, 0, 2]
    shades = [int(test.image(i)[0, 0, 2]) for i in range(3)]
    assert shades == [4, 9, 4]
    with pytest.raises(MissingSplit):
        folder(root, "validation")


def test_unlabelled(tmp_path):
    for i in range(6):
        put(tmp_path / f"{i}.png")
    train = folder(tmp_path)
    assert train.labels.tolist() == [-1] * 6 and train.class_names == []
    with pytest.raises(ValueError, match="train and test"):
        folder(tmp_path, "test")


def test_hidden_files_are_ignored_and_subfolders_searched(tmp_path):
    put(tmp_path / "ant" / "deep" / "er" / "1.png")
    put(tmp_path / "ant" / ".2.png")
    put(tmp_path / "ant" / ".hidden" / "3.png")
    put(tmp_path / ".git" / "4.png")
    (tmp_path / "README.md").write_text("beside the class folders")
    (tmp_path / "empty").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = folder(tmp_path)
    assert len(dataset) == 1 and dataset.class_names == ["ant"]


def test_bad_files_are_left_out_with_one_warning(tmp_path, cache):
    root = class_folders(tmp_path, {"ant": 4, "bee": 4})
    put(root / "ant" / "01b.jpg")
    jpeg = (root / "ant" / "01b.jpg").read_bytes()
    (root / "ant" / "01b.jpg").write_bytes(jpeg[: len(jpeg) * 9 // 10])
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=r"1 of 8 .*01b\.jpg") as caught:
            dataset = folder(root)
        assert len(caught) == 1 and dataset.labels.tolist() == [0] * 3 + [1] * 4
    assert len(list(cache.iterdir())) == 1

    # Shorter than the headers by which the formats are told apart.
    (root / "ant" / "01b.jpg").write_bytes(jpeg[:4])
    with pytest.warns(UserWarning, match=r"1 of 8 .*01b\.jpg"):
        assert len(folder(root)) == 7

    (root / "bee" / "notes.csv").write_text("a,b")
    (root / "ant" / "00.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Too many .*00\.png"):
        folder(root)


def test_an_animated_webp_is_left_out(tmp_path):
    """TensorFlow's decoder writes beyond its memory for one, and the process ends."""
    root = class_folders(tmp_path, {"ant": 2})
    frames = [
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (64, 64, 3), np.uint8))
        for k in range(3)
    ]
    frames[0].save(root / "ant" / "a.webp", save_all=True, append_images=frames[1:], duration=50)
    frames[0].save(root / "ant" / "still.webp", exif=b"Exif\0\0")  # of the extended form too
    with pytest.warns(UserWarning, match=r"1 of 4 .*a\.webp"):
        assert len(folder(root)) == 3


def test_classes_that_look_alike_are_told(tmp_path):
    for split, name in (("train", "\u00c4pfel"), ("test", "A\u0308pfel")):
        put(tmp_path / split / name / "1.png")
    with pytest.raises(ValueError, match="which look alike"):
        folder(tmp_path)


def test_the_cache_spares_the_check_until_a_file_changes(tmp_path, monkeypatch):
    root = class_folders(tmp_path, {"ant": 3})
    before = folder(root).fingerprint
    checked = []
    check = module.undecodable
    monkeypatch.setattr(module, "undecodable", lambda paths: checked.append(1) or check(paths))
    assert folder(root).fingerprint == before and not checked

    (root / "ant" / "02.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="02.png"):
        assert folder(root).fingerprint != before
    assert checked

    monkeypatch.setenv("SASSL_CACHE", str(root / "ant" / "00.png"))  # no folder: unwritable
    with pytest.warns(UserWarning, match="02.png"):
        assert len(folder(root)) == 2


def test_another_image_of_the_same_size_is_another_dataset(tmp_path):
    root = class_folders(tmp_path, {"ant": 3})
    before = folder(root).fingerprint
    file = root / "ant" / "01.png"
    file.write_bytes(file.read_bytes())
    assert folder(root).fingerprint != before


@pytest.mark.parametrize("content", [{}, {"ant/a.txt": "x"}, {"train/ant/a.txt": "x"}])
def test_no_images(tmp_path, content):
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="No image"):
        folder(tmp_path)


def test_a_relative_path_is_the_same_dataset(tmp_path, monkeypatch):
    class_folders(tmp_path, {"ant": 2})
    monkeypatch.chdir(tmp_path)
    here = folder(".")
    monkeypatch.chdir("/")
    assert here.fingerprint == folder(tmp_path).fingerprint
    np.testing.assert_array_equal(here.image(1), np.asarray(picture(1)))


def test_missing_folder_and_split(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        folder(tmp_path / "nowhere")
    class_folders(tmp_path / "train", {"ant": 1})
    with pytest.raises(ValueError, match="test or val"):
        folder(tmp_path, "test")


def write_every_kind(home):
    """Writes an image of every kind; returns {file name: expected RGB pixels}."""
    image, palette = picture(), picture().quantize(40)
    alpha = picture()
    alpha.putalpha(Image.fromarray(np.arange(560, dtype=np.uint8).reshape(20, 28)))
    turned = Image.Exif()
    turned[0x0112] = 6
    saves = {
        "gray.png": (image.convert("L"), {}),
        "gray.jpg": (image.convert("L"), {}),
        "gray.bmp": (image.convert("L"), {}),
        "bit.png": (image.convert("1"), {}),
        "palette.png": (palette, {}),
        "palette4.png": (picture().quantize(9), {"bits": 4}),
        "palette_alpha.png": (palette, {"transparency": bytes(range(40))}),
        "palette.bmp": (palette, {}),
        "alpha.png": (alpha, {}),
        "gray_alpha.png": (alpha.convert("LA"), {}),
        "alpha.bmp": (alpha, {}),
        "rgb.bmp": (image, {}),
        "cmyk.jpg": (image.convert("CMYK"), {"quality": 95}),
        "420.jpg": (image, {"subsampling": 2}),
        "progressive.jpg": (image, {"progressive": True}),
        "turned.jpg": (image, {"exif": turned}),
        "moving.gif": (palette, {"save_all": True, "append_images": [picture(99).quantize(40)]}),
        "still.gif": (palette, {}),
        "alpha.webp": (alpha, {"lossless": True, "exact": True}),
    }
    expected = {}
    for name, (kind, options) in saves.items():
        kind.save(home / name, **options)
        with Image.open(home / name) as opened:
            opened.load()
            expected[name] = np.asarray(opened.convert("RGB"))
    gray16 = np.arange(560, dtype=np.uint16).reshape(20, 28) * 117
    Image.fromarray(gray16).save(home / "gray16.png")
    expected["gray16.png"] = np.stack([gray16 >> 8] * 3, axis=-1)
    rgb16 = np.stack([gray16, 65535 - gray16, gray16 // 3], axis=-1)
    (home / "rgb16.png").write_bytes(tf.io.encode_png(rgb16).numpy())
    expected["rgb16.png"] = rgb16 >> 8
    return expected


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_every_kind_of_image_is_read_as_pil_reads_it(tmp_path):
    (tmp_path / "ant").mkdir()
    expected = write_every_kind(tmp_path / "ant")
    dataset = folder(tmp_path / "ant")
    assert len(dataset) == len(expected)
    for i, name in enumerate(sorted(expected)):
        image = dataset.image(i).numpy()
        # Inks to colours is a product of two bytes, and rounded in different ways.
        tolerance = 2 if name == "cmyk.jpg" else 0
        difference = np.abs(image.astype(int) - expected[name].astype(int)).max()
        assert image.shape == (20, 28, 3) and image.dtype == np.uint8
        assert difference <= tolerance, f"{name}: {difference}"


def test_imagenette(imagenette):
    test = folder(imagenette, "test")
    assert len(test) == 2000 and len(test.class_names) == 10

    examples = tf.data.Dataset.range(0, 2000, 199).map(
        test.example, num_parallel_calls=tf.data.AUTOTUNE
    )
    files = sorted((imagenette / "val").glob("*/*"))[::199]
    for file, example in zip(files, examples.as_numpy_iterator(), strict=True):
        assert test.class_names[example["label"]] == file.parent.name
        with Image.open(file) as image:
            np.testing.assert_array_equal(example["image"], image.convert("RGB"))


def test_what_cannot_be_read_for_a_moment_is_no_damage():
    asked = []

    def read(index):
        asked.append(int(index))
        if index == 2 or (index == 5 and asked.count(5) == 1):
            raise ValueError
        return np.int64(0)

    @tf.function(autograph=False)
    def compute(index):  # a ValueError becomes an InvalidArgumentError
        return tf.numpy_function(read, [index], tf.int64)

    assert failing(compute, np.arange(8)).tolist() == [2]
    assert asked.count(5) == 2


@pytest.mark.parametrize(("damaged", "asked_again"), [([0, 1, 2, 3, 4], 3), ([0, 4], 5)])
def test_of_many_that_fail_all_are_looked_at_again_if_one_can_be_read(
    monkeypatch, damaged, asked_again
):
    monkeypatch.setattr(failing_module, "LOOKED_AT_AGAIN", 3)
    asked = []

    def read(index):
        asked.append(int(index))
        if index in damaged or asked.count(index) == 1:
            raise ValueError
        return np.int64(0)

    @tf.function(autograph=False)
    def compute(index):
        return tf.numpy_function(read, [index], tf.int64)

    assert failing(compute, np.arange(5)).tolist() == damaged
    assert len(asked) == 5 + asked_again


def test_what_cannot_be_read_is_an_error():
    def break_down(index):
        if index > 2:
            raise RuntimeError("the disk is gone")
        return np.int64(0)

    @tf.function(autograph=False)
    def unreadable(index):
        return tf.numpy_function(break_down, [index], tf.int64)

    with pytest.raises(OSError, match="cannot be read now"):
        failing(unreadable, np.arange(5))
