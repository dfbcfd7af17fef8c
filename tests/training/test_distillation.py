"""The distillation: the student it begins with, its loss, its images, and its interruption."""

import dataclasses
import os
import signal
import types

import keras
import ml_collections
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.datasets.folder import every_image
from training.distillation import distill, losses, student
from training.distillation.data import DistillationImages, recolour, square_crops, textures
from training.engine.checkpoints import Checkpoints
from training.engine.preemption import Preempted
from training.engine.workdir import STYLIZER_FILE, checkpoint_steps, open_workdir
from training.report.metrics import MetricsWriter, read_metrics


@pytest.fixture(scope="module")
def teacher(magenta_folder):
    return sassl_tf.load_stylizer("magenta-mobile", magenta_folder)


def test_the_student_begins_as_its_teacher_up_to_the_first_expansion(teacher):
    networks = teacher.transfer_network, student.transfer_network_from(teacher)
    layers = "expand.conv1.conv.StyleNorm", "expand1_style"
    content = tf.constant(sassl_tf.samples.photographs(96)[:2] / np.float32(255))
    code = teacher.encode_style(content[::-1])
    theirs, ours = (
        keras.Model(network.inputs, network.get_layer(layer).output)([content, code]).numpy()
        for network, layer in zip(networks, layers, strict=True)
    )
    # Not to the last digit: the student mirrors whole patches at the border.
    assert ours.shape == theirs.shape
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    style = student.style_network_from(teacher)
    np.testing.assert_array_equal(style.get_weights()[-1], teacher.style_network.get_weights()[-1])


def test_style_heads_are_the_gammas_and_betas(teacher):
    heads = losses.style_heads(teacher)
    code = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    layer = teacher.transfer_network.get_layer("residual.residual1.conv1.StyleNorm")
    gamma = (code[0] - code[1]) @ layer.gamma_kernel.numpy()
    differences = (code[0] - code[1]) @ heads
    assert heads.shape[1] == 2 * (10 * 32 + 16 + 8 + 3)
    assert any(np.allclose(differences[i : i + 32], gamma, atol=1e-4) for i in range(0, 321, 32))


def test_features_are_the_teachers(teacher):
    images = sassl_tf.samples.photographs(64)[:2] / np.float32(255)
    *maps, code = losses.feature_network(teacher.style_network)(images)
    np.testing.assert_allclose(code, teacher.style_network(images), atol=1e-5)
    assert [x.shape[1] for x in maps] == [32, 16, 8, 4]


def test_the_texture_loss_by_hand():
    """Half of a picture's contrast has a quarter of the energy of its detail, and that error."""
    targets = np.random.default_rng(0).random((4, 16, 16, 3)).astype(np.float32)
    pictures = 0.5 + 0.5 * (targets - 0.5)
    loss, (detail, energy, code_error) = losses.texture_loss(
        tf.constant(pictures), tf.constant(targets), lambda x: (x, tf.reduce_mean(x, axis=(1, 2)))
    )
    assert [float(detail), float(energy)] == pytest.approx([0.25, 0.25], rel=1e-3)

    def error(ours, theirs):
        return np.mean((ours - theirs) ** 2) / np.mean(np.var(theirs, axis=0))

    def moments(x):
        return np.concatenate([x.mean((1, 2)), np.sqrt(x.var((1, 2)) + 1e-4)], axis=1)

    codes = error(pictures.mean((1, 2)), targets.mean((1, 2)))
    maps = np.mean(((pictures - targets) ** 2).mean((1, 2, 3)) / (targets**2).mean((1, 2, 3)))
    style = (np.log(error(moments(pictures), moments(targets))) + np.log(codes)) / 2
    expected = 0.5 * np.log(0.25) + 2.0 * np.log(0.25) ** 2 + 0.25 * np.log(maps) + 0.5 * style
    assert float(code_error) == pytest.approx(codes, rel=1e-2)
    assert float(loss) == pytest.approx(expected, rel=1e-2)


def test_batches_are_functions_of_the_generators_seed():
    rng = np.random.default_rng(0)
    images = DistillationImages(
        rng.integers(256, size=(6, 128, 128, 3), dtype=np.uint8),
        rng.integers(256, size=(4, 256, 256, 3), dtype=np.uint8),
    )
    first, again, other = (
        [x.numpy() for x in images.batch(np.random.default_rng(seed), 64, 3)] for seed in (1, 1, 2)
    )
    for x, y, z in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(x, y)
        assert np.abs(x - z).mean() > 0.01
        assert x.min() >= 0 and x.max() <= 1 and x.dtype == np.float32
    assert first[0].shape == (3, 64, 64, 3) and first[1].shape == (3, 256, 256, 3)


def test_crops_lie_in_the_image_and_are_mirrored_half_of_the_time():
    # Every pixel holds the number of its column.
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[:, None], (200, 128, 128, 3))
    crops = square_crops(ramp, (0, 1), 0.35, 32).numpy() * 255
    widths = crops[:, 0, -1, 0] - crops[:, 0, 0, 0]
    assert 0.35 < (widths < 0).mean() < 0.65
    assert np.abs(widths).min() > 0.35 * 127 - 1 and np.abs(widths).max() <= 127.01


def test_half_of_the_images_keep_their_colours():
    images = np.random.default_rng(0).random((200, 4, 4, 3)).astype(np.float32)
    changed = np.any(recolour(images, (0, 1), permute=True).numpy() != images, axis=(1, 2, 3))
    assert 0.35 < changed.mean() < 0.65


def test_textures_are_patterns_of_two_colours():
    made = textures(8, (0, 1), 64).numpy()
    assert made.shape == (8, 64, 64, 3) and made.min() >= 0 and made.max() <= 1
    for image in made:
        pixels = image.reshape(-1, 3) - image.reshape(-1, 3).mean(0)
        strengths = np.linalg.svd(pixels, compute_uv=False)
        assert strengths[1] < 1e-3 * strengths[0]  # on the line between two colours


class Counting:
    """In place of a `Distillation`: counts steps, and gets a signal in one of them."""

    settings = distill.Settings([], "", steps=5, batch=2, learning_rate=1e-3, seed=0)

    def __init__(self, workdir, stopped_in=None):
        self.steps = tf.Variable(0)
        self.checkpoints = Checkpoints(workdir, {"steps": self.steps})
        self.stopped_in = stopped_in

    def step(self, _, number):
        self.steps.assign_add(1)
        if number == self.stopped_in:
            os.kill(os.getpid(), signal.SIGTERM)
        return [float(number)] * len(distill.MEASURES)

    def save_weights(self, path):
        path.write_text(f"{self.steps.numpy()} steps")


def test_a_run_with_other_images_does_not_continue(tmp_path):
    teacher = types.SimpleNamespace(fingerprint="aa")
    for folder in ("contents", "styles"):
        (tmp_path / folder).mkdir()
        write_image(tmp_path / folder / "a.png")
    settings = dataclasses.replace(
        Counting.settings, content=[f"{tmp_path}/contents"], styles=f"{tmp_path}/styles"
    )
    config = ml_collections.ConfigDict(dataclasses.asdict(settings))
    listings = (every_image(tmp_path / name).listing for name in ("contents", "styles"))
    prints = {"teacher": teacher.fingerprint, "listing": fingerprint_of(*listings)}
    open_workdir(tmp_path / "run", config, prints)
    Checkpoints(tmp_path / "run", {"steps": tf.Variable(3)}).save(3)
    write_image(tmp_path / "styles" / "b.png")
    with pytest.raises(ValueError, match=r"(?s)fingerprints\.listing: .* put them back"):
        distill.distill(teacher, settings, tmp_path / "run")


def write_image(path):
    image = np.zeros((8, 8, 3), np.uint8)
    path.write_bytes(tf.io.encode_png(image).numpy())


def test_a_signal_saves_the_step_under_way(tmp_path):
    for stopped_in, done in ((3, 0), (None, 3)):
        run = Counting(tmp_path, stopped_in)
        assert run.checkpoints.restore() == done
        arguments = run, None, run.checkpoints, MetricsWriter(tmp_path, done), done, tmp_path
        if stopped_in:
            with pytest.raises(Preempted, match="step 3 of 5 is saved"):
                distill._train(*arguments)
            assert checkpoint_steps(tmp_path) == [3]
        else:
            distill._train(*arguments)
    assert run.steps.numpy() == 5 and checkpoint_steps(tmp_path) == [3, 5]
    assert (tmp_path / STYLIZER_FILE).read_text() == "5 steps"
    # Killed between the last checkpoint and its weights.
    (tmp_path / STYLIZER_FILE).unlink()
    again = Counting(tmp_path)
    assert again.checkpoints.restore() == 5
    distill._train(again, None, again.checkpoints, MetricsWriter(tmp_path, 5), 5, tmp_path)
    assert (tmp_path / STYLIZER_FILE).read_text() == "5 steps"
    (row,) = read_metrics(tmp_path)
    assert row["step"] == 5 and row["psnr"] == 4.5  # the mean of what this process did
