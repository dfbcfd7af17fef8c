"""Files of ours that were damaged: computed again where that can be done, else named."""

import json

import numpy as np
import pytest

from evaluation.encoders import default_image_size
from evaluation.remembered import remembered
from evaluation.report import read_run
from evaluation.results import matching_result
from sassl_tf import checked
from sassl_tf.datasets import folder as folders
from sassl_tf.representation.features import extract_features
from sassl_tf.style_bank import StyleBank
from tests.evaluation.test_report import write_run
from tests.evaluation.tiny import in_memory, noise_images, tiny_encoder
from training import build_style_bank
from training.configs import simclr
from training.engine.workdir import open_workdir


def zeroed(data):
    return bytes(len(data))


def truncated(data):
    return data[: len(data) // 2]


def emptied(_):
    return b""


def zeroed_tail(data):
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half)


def one_bit(data):
    place = len(data) // 4
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = [zeroed, truncated, emptied, zeroed_tail, one_bit]
every_damage = pytest.mark.parametrize("damage", DAMAGES)


def spoil(path, damage):
    path.write_bytes(damage(path.read_bytes()))


@every_damage
def test_json(tmp_path, damage):
    path = tmp_path / "a.json"
    content = {"b": [1.5, None, float("inf")], "a": {10: "é", 2: "x"}}
    checked.write_json(path, content)
    assert checked.read_json(path) == json.loads(json.dumps(content))
    spoil(path, damage)
    with pytest.raises(checked.Damaged, match=r"a\.json is damaged"):
        checked.read_json(path)
    with pytest.warns(match=r"a\.json is damaged .* computed again"):
        assert checked.cached(checked.read_json, path) is None


def test_json_that_was_changed_by_hand(tmp_path):
    path = tmp_path / "a.json"
    checked.write_json(path, {"side": 32})
    path.write_text(path.read_text().replace("32", "64"))
    with pytest.raises(checked.Damaged, match='on purpose, remove its "checksum"'):
        checked.read_json(path)
    path.write_text('{"side": 64}')
    assert checked.read_json(path) == {"side": 64}
    assert checked.cached(checked.read_json, tmp_path / "none.json") is None


@every_damage
def test_arrays(tmp_path, damage):
    array = np.random.default_rng(0).random((500, 30), np.float32)
    checked.write_array(tmp_path / "a.npy", array)
    checked.write_arrays(tmp_path / "a.npz", one=array, two=array[0])
    np.testing.assert_array_equal(checked.read_array(tmp_path / "a.npy"), array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)  # NumPy's own format
    read = checked.read_arrays(tmp_path / "a.npz")
    assert [*read] == ["one", "two"]
    np.testing.assert_array_equal(read["two"], array[0])
    for name, function in (("a.npy", checked.read_array), ("a.npz", checked.read_arrays)):
        spoil(tmp_path / name, damage)
        with pytest.raises(checked.Damaged, match=name) as error:
            function(tmp_path / name)
        assert "pickle" not in str(error.value)


@every_damage
def test_features_are_computed_again(tmp_path, damage):
    encoder, dataset = tiny_encoder(), in_memory(noise_images(5))
    first = np.array(extract_features(encoder, dataset, 16, cache_dir=tmp_path))
    [file] = tmp_path.iterdir()
    spoil(file, damage)
    with pytest.warns(match="computed again"):
        again = extract_features(encoder, dataset, 16, cache_dir=tmp_path)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(checked.read_array(file), first)


def test_nan_features_in_the_cache(tmp_path):
    encoder, dataset = tiny_encoder(), in_memory(noise_images(5))
    first = np.array(extract_features(encoder, dataset, 16, cache_dir=tmp_path))
    [file] = tmp_path.iterdir()
    np.save(file, np.full_like(first, np.nan))
    with pytest.warns(match="computed again"):
        again = extract_features(encoder, dataset, 16, cache_dir=tmp_path)
    np.testing.assert_array_equal(again, first)


@every_damage
def test_trials_are_done_again(tmp_path, damage):
    assert remembered(tmp_path, {"trial": 1}, lambda: {"accuracy": 0.5}) == {"accuracy": 0.5}
    assert remembered(tmp_path, {"trial": 1}, lambda: None) == {"accuracy": 0.5}
    [file] = tmp_path.iterdir()
    spoil(file, damage)
    with pytest.warns(match="computed again"):
        assert remembered(tmp_path, {"trial": 1}, lambda: {"accuracy": 0.6}) == {"accuracy": 0.6}
    assert remembered(tmp_path, {"trial": 1}, lambda: None) == {"accuracy": 0.6}


@every_damage
def test_results(tmp_path, damage):
    """Done again by evaluation.transfer, and named by evaluation.report."""
    workdir = write_run(tmp_path / "run", {})
    file = workdir / "knn-shapes.json"
    result = {"evaluation": "knn", "dataset": "shapes", "accuracy": 0.5}
    checked.write_json(file, result)
    assert matching_result(file, {"evaluation": "knn"}) == result
    assert read_run(workdir)["results"] == [result]
    spoil(file, damage)
    with pytest.warns(match="computed again"):
        assert matching_result(file, {"evaluation": "knn"}) is None
    with pytest.raises(ValueError, match=r"knn-shapes\.json is damaged .* have it written again"):
        read_run(workdir)


@every_damage
def test_config(tmp_path, damage):
    config = simclr.get_config("smoke")
    open_workdir(tmp_path, config)
    assert default_image_size(tmp_path, tiny_encoder()) == config.image_size
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-5.index").touch()
    spoil(tmp_path / "config.json", damage)
    with pytest.raises(ValueError, match=r"config\.json is damaged .* Put it back"):
        open_workdir(tmp_path, config)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        default_image_size(tmp_path, tiny_encoder())


def test_a_damaged_config_of_a_run_that_has_no_checkpoint(tmp_path):
    config = simclr.get_config("smoke")
    open_workdir(tmp_path, config)
    spoil(tmp_path / "config.json", zeroed)
    open_workdir(tmp_path, config)
    assert checked.read_json(tmp_path / "config.json")["method"] == "simclr"


class Broken(Exception):
    pass


@pytest.mark.parametrize("damage", [zeroed, truncated, one_bit])
def test_parts_of_a_style_bank(tmp_path, monkeypatch, damage):
    """Broken off in its second part, of which the first is damaged."""
    encoded = []

    class Stylizer:
        fingerprint = "f"

    def from_images(dataset, stylizer):
        if len(encoded) == 1 and not (tmp_path / "again").exists():
            raise Broken
        encoded.append(len(dataset))
        pixels = np.stack([dataset.image(i) for i in range(len(dataset))])
        return StyleBank(pixels.reshape(len(pixels), -1)[:, :8] / np.float32(255), "f")

    monkeypatch.setattr(StyleBank, "from_images", from_images)
    dataset, output = in_memory(noise_images(5)), tmp_path / "styles.npz"
    with pytest.raises(Broken):
        build_style_bank.build_style_bank(dataset, Stylizer, output, part=3)
    [part] = tmp_path.glob(".styles.npz.*/*.npy")
    (tmp_path / "again").touch()
    spoil(part, damage)
    with pytest.warns(match="computed again"):
        bank = build_style_bank.build_style_bank(dataset, Stylizer, output, part=3)
    assert encoded == [3, 3, 2]
    expected = np.stack([image.reshape(-1)[:8] for image in noise_images(5)]) / np.float32(255)
    np.testing.assert_array_equal(bank.codes, expected)
    assert not [*tmp_path.glob(".styles*")]


@every_damage
def test_the_list_of_unreadable_images(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("SASSL_CACHE", str(tmp_path))
    folders._save_cache("key", [3])
    assert folders._load_cache("key") == [3]
    [file] = tmp_path.iterdir()
    spoil(file, damage)
    with pytest.warns(match="computed again"):
        assert folders._load_cache("key") is None
