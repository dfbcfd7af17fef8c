"""Style banks: the same codes from every kind of source, and files that say what is wrong."""

import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf import StyleBank
from sassl_tf.style_images import style_images
from tests.stylizers.tiny import tiny_stylizer


@pytest.fixture(scope="module")
def stylizer():
    return sassl_tf.load_stylizer("compact")


def test_of_a_line_the_middle_is_taken():
    """Enlarged as a whole, it would take gigabytes."""
    line = np.random.default_rng(0).integers(0, 256, (1, 2, 100_000, 3), np.uint8)
    [image] = style_images(line, 256)
    middle = line[:, :, 50_000 - 4 : 50_000 + 4] / np.float32(255)
    expected = tf.image.resize(middle, (256, 1024), antialias=True)[0, :, 384:640]
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_every_source_gives_the_same_codes(tmp_path):
    stylizer = tiny_stylizer()
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)
    bank = StyleBank.from_images(images, stylizer, batch_size=2)
    sized = tf.image.resize(images / np.float32(255), (16, 16), antialias=True)
    expected = stylizer.encode_style(sized)
    np.testing.assert_allclose(bank.codes, expected, atol=1e-4)
    assert len(bank) == 5 and bank.fingerprint == stylizer.fingerprint

    for number, image in enumerate(images):
        folder = tmp_path / f"painter{number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    dataset = tf.data.Dataset.from_tensor_slices(images)
    sources = {
        "floats": images / np.float32(255),
        "dataset": dataset,
        "batches": dataset.batch(3),
        "dicts": dataset.map(lambda x: {"image": x, "label": 0}),
        "pairs": dataset.map(lambda x: (x, 0)),
    }
    for name, source in sources.items():
        codes = StyleBank.from_images(source, stylizer).codes
        np.testing.assert_allclose(codes, bank.codes, atol=1e-4, err_msg=name)
    from_folder = StyleBank.from_images(tmp_path, stylizer).codes
    by_name = [0, 2, 4, 1, 3]
    np.testing.assert_allclose(from_folder, bank.codes[by_name], atol=1e-4)


def test_slips_are_told():
    images, stylizer = np.zeros((2, 20, 20, 3), np.uint8), tiny_stylizer()
    dataset = tf.data.Dataset.from_tensor_slices(images)
    for arguments, told in (
        ((images, "compact"), "stylizer is 'compact'; expected a Stylizer"),
        ((images, stylizer, 0), "batch_size is 0"),
        ((dataset.repeat(), stylizer), "no end"),
        (([images[0], images[1, 1:]], stylizer), "several sizes"),
    ):
        with pytest.raises(ValueError, match=told):
            StyleBank.from_images(*arguments)


@pytest.mark.parametrize("width", [24, None])
def test_images_of_several_sizes_in_ragged_batches(width):
    rng, stylizer = np.random.default_rng(0), tiny_stylizer()
    images = [rng.integers(0, 256, (side, width or 50 - side, 3), np.uint8) for side in (20, 30)]
    spec = tf.TensorSpec((None, width, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)
    expected = StyleBank.from_images(dataset, stylizer).codes
    found = StyleBank.from_images(dataset.ragged_batch(2), stylizer).codes
    np.testing.assert_array_equal(found, expected)


def test_any_size_is_fitted_without_squeezing(stylizer):
    """A wide image counts by its centre, at its own proportions."""
    rng = np.random.default_rng(1)
    centre = rng.integers(0, 256, (64, 64, 3), np.uint8)
    wide = np.concatenate([np.zeros((64, 40, 3), np.uint8), centre, centre[:, :40]], axis=1)
    codes = StyleBank.from_images(wide[None], stylizer).codes
    expected = StyleBank.from_images(centre[None], stylizer).codes
    # Resizing sees other pixels at the borders; a crop 40 px aside is further away than 0.06.
    np.testing.assert_allclose(codes, expected, atol=0.02)


def test_save_and_load(tmp_path):
    bank = StyleBank(np.random.default_rng(0).normal(size=(7, 100)), "f" * 16)
    bank.save(tmp_path / "new" / "bank.npz")
    loaded = StyleBank.load(tmp_path / "new" / "bank.npz")
    np.testing.assert_array_equal(loaded.codes, bank.codes)
    assert loaded.fingerprint == bank.fingerprint
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bank.npz"]


def test_the_default_bank_is_of_the_packaged_stylizer(stylizer):
    bank = StyleBank.default("compact")
    bank.check_made_by(stylizer)
    assert len(bank) > 1000 and bank.codes.std(axis=0).min() > 0
    with pytest.raises(ValueError, match="no default style bank for the magenta-mobile"):
        StyleBank.default("magenta-mobile")


def test_bad_files(tmp_path):
    with pytest.raises(ValueError, match="no style bank at"):
        StyleBank.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=1)
    (tmp_path / "text.npz").write_text("not a zip")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "objects.npz", codes=np.array([{}], object), fingerprint="x")
    StyleBank(np.ones((50, 100)), "x").save(tmp_path / "cut.npz")
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("other", "text", "empty", "objects", "cut"):
        with pytest.raises(ValueError, match="holds no style bank"):
            StyleBank.load(tmp_path / f"{name}.npz")


def test_bad_images(stylizer, tmp_path):
    with pytest.raises(ValueError, match=r"expected \[N, H, W, 3\]"):
        StyleBank.from_images(np.zeros((32, 32, 3), np.uint8), stylizer)
    with pytest.raises(ValueError, match="uint8, or floats"):
        StyleBank.from_images(np.zeros((2, 32, 32, 3), np.int64), stylizer)
    with pytest.raises(ValueError, match="no style images"):
        StyleBank.from_images(np.zeros((0, 32, 32, 3), np.uint8), stylizer)
    with pytest.raises(ValueError, match="does not exist"):
        StyleBank.from_images(tmp_path / "none", stylizer)
    with pytest.raises(ValueError, match=r"from 255 to 255; expected \[0, 1\]"):
        StyleBank.from_images(255 * np.ones((2, 32, 32, 3), np.float32), stylizer)
    with pytest.raises(ValueError, match=r"from -1 to -1; expected \[0, 1\]"):
        StyleBank.from_images(-np.ones((2, 32, 32, 3), np.float32), stylizer)
    for channels in (1, 4):
        images = tf.data.Dataset.from_tensors(np.zeros((32, 32, channels), np.uint8))
        with pytest.raises(ValueError, match=r"expected \[H, W, 3\]"):
            StyleBank.from_images(images, stylizer)
    broken = np.zeros((3, 64, 64, 3), np.float32)
    broken[1] = np.nan
    with pytest.raises(ValueError, match="image number 1 has NaN"):
        StyleBank.from_images(broken, stylizer)
