"""The input as a pure function of (seed, position)."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import bucket
from sassl_tf import SASSLAugmentation
from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.shapes import shapes
from sassl_tf.views import crop_view, draw_view, finish_views
from tests.datasets.record_files import encoded_images, example, write_shard
from tests.stylizers.tiny import tiny_bank, tiny_stylizer
from training.configs import dino
from training.configs.simclr import get_config
from training.input.order import ORDER, index_in_epoch, shuffled_index, shuffled_window
from training.input.pipeline import finish_sides, view_batches, views_of


@pytest.fixture(scope="module")
def dataset():
    return shapes("train", count=40, size=24)


def make_config(seed=0):
    config = get_config("smoke")
    config.image_size, config.batch_size, config.seed = 16, 8, seed
    return config


def batches(dataset, start=0, count=3, augment=None, seed=0):
    stream = view_batches(dataset, make_config(seed), augment, start_step=start)
    return list(stream.take(count).as_numpy_iterator())


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, a, b)


def test_a_run_may_start_anywhere(dataset):
    augment = SASSLAugmentation(tiny_stylizer(), tiny_bank(), value_range=(0, 1))
    whole = batches(dataset, count=12, augment=augment)
    assert_equal(whole[7:], batches(dataset, start=7, count=5, augment=augment))


def test_hosts_and_replicas_share_the_batches_of_one(dataset):
    """Two hosts of two replicas each: every replica its quarter of the global batch, in order."""
    whole = batches(dataset, start=3, count=6)
    config = make_config()
    hosts = [
        view_batches(dataset, config, start_step=3, share=(number, 2), replica_batch_size=2)
        for number in range(2)
    ]
    quarters = [list(host.take(12).as_numpy_iterator()) for host in hosts]
    for step, expected in enumerate(whole):
        parts = [quarters[host][2 * step + replica] for host in (0, 1) for replica in (0, 1)]
        for name, values in expected.items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), values)


@pytest.mark.parametrize(
    "styles",
    [(tiny_stylizer, tiny_bank), pytest.param((), marks=pytest.mark.slow)],
    ids=["tiny", "compact"],
)
def test_views_made_on_the_device_are_those_of_the_host(dataset, styles):
    """SASSL included: the draws travel with the crops, and XLA compiles the rest."""
    styles = [make() for make in styles]
    options = {"value_range": (0, 1), "precision": "float32"}
    host = batches(dataset, augment=SASSLAugmentation(*styles, **options))
    config = make_config()
    config.augment_on = "device"
    augment = SASSLAugmentation(*styles, **options, static_shapes=True)
    finish = tf.function(
        lambda batch: finish_sides(batch, config, augment),
        jit_compile=True,
        autograph=False,
    )
    for crops, expected in zip(view_batches(dataset, config, augment), host, strict=False):
        assert crops["left"]["image"].dtype == tf.uint8  # a quarter of a float view
        views = finish(crops)
        np.testing.assert_array_equal(views["index"], expected["index"])
        for side in ("left", "right"):
            np.testing.assert_allclose(views[side], expected[side], atol=1e-4)


def test_shards_give_the_batches_of_a_folder(tmp_path):
    """To the bit, for the same images in the same order; and so from any step on."""
    images = encoded_images(40)
    write_shard(tmp_path / "0.tfrecord", [example(image) for image in images[:25]])
    write_shard(tmp_path / "1.tfrecord", [example(image) for image in images[25:]])
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(images):
        (tmp_path / "folder" / f"{number:02}.png").write_bytes(image)
    shards = load_dataset(f"records:{tmp_path}/*.tfrecord")
    expected = batches(load_dataset(f"folder:{tmp_path / 'folder'}"), count=7)
    assert_equal(expected, batches(shards, count=7))
    assert_equal(expected[4:], batches(shards, start=4, count=3))


def multi_crop_config(local_crops):
    config = dino.get_config("smoke")
    config.image_size, config.local_size, config.local_crops = 16, 8, local_crops
    config.batch_size = 8
    return config


def test_small_crops_are_a_function_of_seed_and_position(dataset):
    """They change nothing about the large crops, nor do more of them about those before."""
    config = multi_crop_config(3)
    three = list(view_batches(dataset, config).take(2).as_numpy_iterator())[1]
    assert three["local"].shape == (8, 3, 8, 8, 3)
    none = next(view_batches(dataset, multi_crop_config(0), start_step=1).as_numpy_iterator())
    assert "local" not in none
    for side in ("left", "right"):
        np.testing.assert_array_equal(three[side], none[side])
    # Crop by crop, each from its own number alone: the image at position 8 + 5.
    image, view = dataset.image(three["index"][5]), views_of(config)["local"]
    high, low = tf.constant([0, 13], tf.int64)
    seed = tf.random.fold_in(tf.random.fold_in([config.seed, 0], high), low)
    draws = [draw_view(view, image.shape, tf.random.fold_in(seed, 2 + i)) for i in range(3)]
    crops = tf.stack([crop_view(image, one, 8) for one in draws])
    draws = tf.nest.map_structure(lambda *each: tf.stack(each), *draws)
    expected = finish_views(crops, draws, view, static_shapes=True)
    np.testing.assert_allclose(three["local"][5], expected, atol=1e-4)


def test_small_crops_made_on_the_device_are_those_of_the_host(dataset):
    config = multi_crop_config(3)
    expected = next(iter(view_batches(dataset, config)))
    config.augment_on = "device"
    finish = tf.function(lambda batch: finish_sides(batch, config), autograph=False)
    views = finish(next(iter(view_batches(dataset, config))))
    for name in ("left", "right", "local"):
        np.testing.assert_allclose(views[name], expected[name], atol=1e-4)


def test_the_seed_decides(dataset):
    assert_equal(batches(dataset, seed=3), batches(dataset, seed=3))
    assert (batches(dataset)[0]["left"] != batches(dataset, seed=1)[0]["left"]).any()


def test_every_epoch_is_another_permutation(dataset):
    indices = np.concatenate([batch["index"] for batch in batches(dataset, count=15)])
    epochs = indices.reshape(3, 40)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(40))
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_no_batch_holds_an_image_twice_and_none_is_always_left_over(dataset):
    uneven = dataset.subset(range(13))  # one batch of 8 an epoch
    indices = [batch["index"] for batch in batches(uneven, count=12)]
    assert all(len(np.unique(batch)) == 8 for batch in indices)
    assert set(np.concatenate(indices)) == set(range(13))


@pytest.mark.parametrize("count", [4000, 50_000, 65_536, 1_281_167])
def test_orders_are_independent(count):
    """Of epochs and of seeds; with files sorted by class, batches and neighbours are mixed."""
    places = tf.range(count, dtype=tf.int64)
    orders = [
        index_in_epoch(places, epoch, count, seed).numpy()
        for seed, epoch in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    spread = 5 / count**0.5  # five standard errors of a correlation of 0
    for order, other in itertools.combinations(orders, 2):
        assert abs(np.corrcoef(order, other)[0, 1]) < spread
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), places)
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < spread

    batch, classes = 200, 20
    used = count // batch * batch
    batch_of = np.full((2, count), -1)
    for row, order in zip(batch_of, orders, strict=False):
        row[order[:used]] = np.arange(used) // batch
    both = batch_of[:, (batch_of >= 0).all(axis=0)]
    together = np.unique(both[0] * count + both[1], return_counts=True)[1]
    # Of the pairs that met in a batch, so many meet again by chance.
    chance = used * (batch - 1) / 2 * used / count * (batch - 1) / (count - 1)
    assert (together * (together - 1) / 2).sum() / chance == pytest.approx(1, abs=0.1)

    labels = orders[0] * classes // count
    held = np.stack(
        [(labels[:used].reshape(-1, batch) == label).sum(1) for label in range(classes)]
    )
    # The variance of a draw without replacement.
    share = 1 / classes
    expected = batch * share * (1 - share) * (count - batch) / (count - 1)
    assert held.var(axis=1).mean() == pytest.approx(expected, rel=0.3)
    assert np.mean(labels[:-1] == labels[1:]) == pytest.approx(
        share, abs=5 * (share / count) ** 0.5
    )


@pytest.mark.parametrize(("count", "window", "batch"), [(43, 4, 8), (40, 8, 8), (4099, 16, 64)])
def test_windows_are_shuffled_and_hold_neighbours(count, window, batch):
    length = count // batch * batch
    at = tf.function(lambda p, seed: shuffled_window(p, count, length, seed, window))
    places = np.arange(0, length, window)
    epochs = [
        np.stack([at(tf.constant(e * length + p, tf.int64), seed) for p in places])
        for e, seed in ((0, 0), (1, 0), (0, 1))
    ]
    for indices in epochs:
        assert len(np.unique(indices)) == length and indices.min() >= 0 and indices.max() < count
        np.testing.assert_array_equal(np.diff(indices, axis=1) % count, 1)
    borders = [set(indices[:, 0] % window) for indices in epochs]
    assert all((a[:, 0] != b[:, 0]).any() for a, b in itertools.combinations(epochs, 2))
    assert len({tuple(sorted(b)) for b in borders}) > 1  # the windows of each epoch are others


def test_windows_are_read_alike_from_any_step_on_any_host(tmp_path):
    images = encoded_images(40)
    write_shard(tmp_path / "0.tfrecord", [example(image) for image in images[:13]])
    write_shard(tmp_path / "1.tfrecord", [example(image) for image in images[13:]])
    shards = load_dataset(f"records:{tmp_path}/*.tfrecord")
    config = make_config()
    config.shuffle_window = 4

    def stream(dataset, start, count, **share):
        made = view_batches(dataset, config, start_step=start, **share)
        return list(made.take(count).as_numpy_iterator())

    whole = stream(dataclasses.replace(shards, encoded_run=None), 0, 11)  # two epochs
    halves = [stream(shards, 7, 4, share=(number, 2)) for number in range(2)]
    for step, expected in enumerate(whole[7:]):
        for name, values in expected.items():
            both = np.concatenate([half[step][name] for half in halves])
            np.testing.assert_array_equal(both, values)
    with pytest.raises(ValueError, match=r"shuffle_window is 4, and each of 4 hosts makes 2 im"):
        view_batches(shards, config, share=(0, 4))


@pytest.mark.skipif(not bucket.can_be_compiled(), reason="needs the compiler g++")
def test_reads_wait_together_and_windows_take_fewer(tmp_path, monkeypatch):
    """In a stand-in for a bucket whose reads take a while; nothing here measures time."""
    for name in ("BUCKET_ROOT", "BUCKET_READ_MS"):  # which `mount` sets
        monkeypatch.setenv(name, "0")
    bucket.mount(tmp_path, read_ms=20)
    (tmp_path / "b").mkdir()
    write_shard(tmp_path / "b" / "0", [example(image) for image in encoded_images(64)])
    dataset = load_dataset("records:bucket://b/0")
    config = make_config()
    counted = {}
    for reads, window in ((4, 1), (4, 8)):
        config.shuffle_window = window
        batches = iter(view_batches(dataset, config, reads=reads))
        bucket.reads(), bucket.most_at_once()
        for _ in range(8):
            next(batches)
        counted[window] = bucket.reads()
        # A window that goes from the last record to the first is read record by record.
        assert 2 <= bucket.most_at_once() <= 4 * window
        del batches
    # A record takes two reads, of which the first asks for one byte; and so does a window.
    assert counted[1] >= 2 * 64 - 1 and counted[8] < counted[1] / 2
    fetched = tf.data.Dataset.range(64).map(dataset.fetch, num_parallel_calls=32)
    bucket.mount(tmp_path, read_ms=300)  # long enough for all of them to begin
    assert len(list(fetched)) == 64 and bucket.most_at_once() > 8  # of two threads for operations
    # A window that is no run of neighbours is read one by one, and all at the same time.
    run = tf.function(dataset.fetch_run, autograph=False)
    for indices in ([*range(56, 64), *range(8)], [*range(16)]):
        run(tf.constant(indices, tf.int64))
        assert (bucket.most_at_once() > 8) == (indices[0] == 56)


def test_the_order_stays_as_it_was():
    """A run goes on with its order: with another one, `ORDER` has to be raised."""
    assert ORDER == 2
    for epoch, expected in (
        (0, [817, 494, 153, 616, 96, 706, 339, 156]),
        (1, [710, 874, 625, 277, 419, 652, 346, 504]),
    ):
        places = tf.range(8, dtype=tf.int64)
        found = index_in_epoch(places, tf.constant(epoch, tf.int64), 1000, 0)
        assert found.numpy().tolist() == expected
    window = shuffled_window(tf.constant(8, tf.int64), 1000, 1000, 0, 4)
    assert window.numpy().tolist() == [506, 507, 508, 509]


def test_positions_beyond_32_bits():
    position = tf.constant(3 * 2**40 + 5, tf.int64)
    epoch, index = shuffled_index(position, 1000, 960, 0)
    assert int(epoch) == (3 * 2**40 + 5) // 960 and 0 <= int(index) < 1000


def test_views_of_an_image_differ_by_epoch_and_side(dataset):
    first, again = batches(dataset, count=1)[0], batches(dataset, start=5, count=1)[0]
    assert (first["left"] != first["right"]).any(axis=(1, 2, 3)).all()
    places = {int(i): k for k, i in enumerate(again["index"])}
    shared = [(k, places[int(i)]) for k, i in enumerate(first["index"]) if int(i) in places]
    assert shared
    for here, there in shared:
        assert (first["left"][here] != again["left"][there]).any()


def test_sassl_changes_the_left_view_alone(dataset):
    augment = SASSLAugmentation(tiny_stylizer(), tiny_bank(), probability=1.0, value_range=(0, 1))
    plain, stylized = batches(dataset), batches(dataset, augment=augment)
    for without, with_sassl in zip(plain, stylized, strict=True):
        np.testing.assert_array_equal(without["right"], with_sassl["right"])
        assert (without["left"] != with_sassl["left"]).any()


def test_a_batch_larger_than_the_data(dataset):
    with pytest.raises(ValueError, match="batch_size is 8, but shapes has 5 images"):
        view_batches(dataset.subset(range(5)), make_config())
