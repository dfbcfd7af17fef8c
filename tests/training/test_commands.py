"""The commands of `training` besides pretraining, run as a user runs them."""

import numpy as np
import pytest
from PIL import Image

import sassl_tf
from evaluation.demo import demo_configs, table
from sassl_tf.checked import read_json
from sassl_tf.datasets.shapes import shapes
from sassl_tf.style_bank import StyleBank
from tests.commands import run
from tests.evaluation.tiny import write_class_folders
from tests.stylizers.tiny import tiny_stylizer
from training.build_style_bank import build_style_bank
from training.configs.simclr import get_config


def test_build_style_bank(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (64, 80, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    output = tmp_path / "bank" / "styles.npz"
    done = run("training.build_style_bank", f"--images={tmp_path}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    bank = sassl_tf.StyleBank.load(output)
    assert len(bank) == 3 and "3 styles" in done.stdout
    bank.check_made_by(sassl_tf.load_stylizer("compact"))


def test_an_interrupted_style_bank_continues(tmp_path, monkeypatch):
    """Broken off between two parts, it encodes only what is left, with the same result."""
    monkeypatch.setenv("HOME", str(tmp_path))
    stylizer = tiny_stylizer()
    dataset = shapes(count=10)
    expected = StyleBank.from_images(dataset, stylizer).codes
    encoded = []

    def from_images(images, stylizer):
        if len(encoded) == 2:
            encoded.append(0)
            raise KeyboardInterrupt
        encoded.append(len(images))
        return StyleBank(expected[sum(encoded[:-1]) : sum(encoded)], stylizer.fingerprint)

    monkeypatch.setattr(StyleBank, "from_images", from_images)
    output = tmp_path / "styles.npz"
    with pytest.raises(KeyboardInterrupt):
        build_style_bank(dataset, stylizer, "~/styles.npz", part=4)
    assert not output.exists()
    bank = build_style_bank(dataset, stylizer, "~/styles.npz", part=4)
    assert encoded == [4, 4, 0, 2]
    np.testing.assert_array_equal(bank.codes, expected)
    np.testing.assert_array_equal(StyleBank.load(output).codes, expected)
    assert [file.name for file in tmp_path.iterdir()] == ["styles.npz"]


def test_convert_stylizer(tmp_path):
    output = tmp_path / "copy.safetensors"
    done = run("training.convert_stylizer", "--stylizer=compact", f"--output={output}")
    assert done.returncode == 0, done.stderr
    original = sassl_tf.load_stylizer("compact")
    assert sassl_tf.load_stylizer("compact", output).fingerprint == original.fingerprint
    assert original.fingerprint in done.stdout
    done = run("training.convert_stylizer", f"--output={tmp_path / 'magenta.npz'}")
    assert done.returncode != 0 and ".safetensors" in done.stderr


def test_the_demos_two_runs_differ_in_their_style_alone(tmp_path):
    write_class_folders(tmp_path, train=20)
    configs = demo_configs(f"folder:{tmp_path}", None, "demo")
    without, with_sassl = (config.to_dict() for config in configs.values())
    assert [without.pop("style"), with_sassl.pop("style")] == ["none", "sassl"]
    assert without == with_sassl
    # It sees as many images as on 4,000, and has batches of no more than there are.
    assert without["epochs"] * 60 == pytest.approx(get_config("demo").epochs * 4000)
    assert without["batch_size"] == 60
    rows = [{"kNN": 30.0}, {"kNN": 28.75}]
    assert table(dict(zip(configs, rows, strict=True))).splitlines() == [
        "|  | kNN |",
        "|---|---|",
        "| SimCLR | 30.0 % |",
        "| SimCLR + SASSL | 28.8 % |",
        "| change | -1.2 |",
    ]


@pytest.mark.slow
def test_demo(tmp_path):
    write_class_folders(tmp_path / "images", train=20)
    flags = [f"--dataset=folder:{tmp_path / 'images'}", f"--workdir={tmp_path / 'runs'}"]
    done = run("evaluation.demo", "--preset=smoke", *flags)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")]
    names = [row[0].strip() for row in rows]
    assert names == ["", "SimCLR", "SimCLR + SASSL", "change"]
    without, with_sassl, change = ([float(c.strip(" %")) for c in row[1:]] for row in rows[1:])
    np.testing.assert_allclose(np.subtract(with_sassl, without), change, atol=0.11)
    (picture,) = tmp_path.glob("runs/*/demo.png")
    with Image.open(picture) as page:
        assert min(page.size) > 800
    for folder, style in (("baseline", "none"), ("sassl", "sassl")):
        assert read_json(picture.parent / folder / "config.json")["style"] == style


def test_the_demo_says_at_once_that_it_needs_labels(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    done = run("evaluation.demo", f"--dataset=folder:{tmp_path}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode != 0 and "test split" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_distill_stylizer(tmp_path, magenta_folder, imagenette):
    """A few steps on few images: the weights load, and other settings do not continue them."""
    common = [
        "training.distill_stylizer",
        f"--teacher={magenta_folder}",
        f"--content={imagenette / 'val' / 'tench'}",
        f"--styles={imagenette / 'val' / 'church'}",
        f"--workdir={tmp_path}",
        "--batch=4",
    ]
    done = run(*common, "--steps=3")
    assert done.returncode == 0, done.stderr
    stylizer = sassl_tf.load_stylizer("compact", tmp_path / "compact.safetensors")
    assert stylizer.fingerprint != sassl_tf.load_stylizer("compact").fingerprint
    other = run(*common, "--steps=4")
    assert other.returncode != 0 and "steps: there 3, here 4" in other.stderr
