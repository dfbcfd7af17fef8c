"""SASSLAugmentation: Algorithm 1 by hand, in every place that the layer may stand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import sassl_tf
from sassl_tf import SASSLAugmentation, StyleBank
from sassl_tf.resizing import clamp_shorter_side
from sassl_tf.stylizers.compact import packaged
from tests.stylizers.tiny import tiny_bank, tiny_stylizer

SEED = tf.constant([3, 4])


def images(count=6, height=40, width=52, dtype=np.uint8):
    draws = np.random.default_rng(0).integers(0, 256, (count, height, width, 3))
    return draws.astype(dtype)


def changed(before, after):
    """Which images of a batch differ."""
    return (np.asarray(before) != np.asarray(after)).any(axis=(1, 2, 3))


def tiny_layer(styles="bank", **arguments):
    """A layer with a stylizer of two convolutions, which traces in a tenth of compact's time."""
    styles = tiny_bank() if styles == "bank" else styles
    return SASSLAugmentation(tiny_stylizer(), styles, **arguments)


@pytest.fixture(scope="module")
def augment():
    return tiny_layer(seed=0)


@pytest.mark.parametrize(
    ("stylizer", "styles"), [("compact", "default"), (tiny_stylizer, "in_batch")]
)
def test_algorithm_1_step_by_step(stylizer, styles):
    """The paper's formula, image by image, with injected draws."""
    stylizer = stylizer if isinstance(stylizer, str) else stylizer()
    layer = SASSLAugmentation(stylizer, styles, value_range=(0, 1), precision="float32")
    x = images(4).astype(np.float32) / 255
    draws = {
        "apply": np.array([True, True, False, True]),
        "style": np.float32([0.0, 0.5, 0.3, 0.99]),
        "alpha": np.float32([0.0, 0.2, 0.3, 1.0]),
        "beta": np.float32([1.0, 0.1, 0.3, 0.0]),
    }
    views = layer.transform_images(x, {k: tf.constant(v) for k, v in draws.items()}).numpy()
    f, t = layer.stylizer.encode_style, layer.stylizer.stylize
    for i in range(4):
        if not draws["apply"][i]:
            np.testing.assert_array_equal(views[i], x[i])
            continue
        if styles == "in_batch":  # one of the three others, in turn after its own place
            partner = (i + 1 + int(draws["style"][i] * 3)) % 4
            z_s = f(x[partner : partner + 1])
        else:
            z_s = layer.style_bank.codes[None, int(draws["style"][i] * len(layer.style_bank))]
        z_c = f(x[i : i + 1])
        z = (1 - draws["alpha"][i]) * z_c + draws["alpha"][i] * z_s
        stylized = t(x[i : i + 1], z)[0]
        expected = (1 - draws["beta"][i]) * x[i] + draws["beta"][i] * stylized
        np.testing.assert_allclose(views[i], expected, atol=2e-5)


def test_draws_are_per_image_and_uniform(augment):
    draws = augment.get_random_transformation((20_000,), SEED)
    draws = {name: value.numpy() for name, value in draws.items()}
    assert abs(draws["apply"].mean() - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 20_000)
    for name, low, high in (("alpha", 0.1, 0.3), ("beta", 0.1, 0.3), ("style", 0.0, 1.0)):
        values = draws[name]
        assert values.min() >= low and values.max() <= high
        counts, _ = np.histogram(values, 10, (low, high))
        assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)
    assert abs(np.corrcoef(draws["alpha"], draws["beta"])[0, 1]) < 0.03


def test_draws_stay_as_they_were():
    """Runs that were begun go on: what a seed draws must never change."""
    draws = tiny_layer(probability=0.5).get_random_transformation((6,), [3, 7])
    apply = [False, True, False, True, False, False]
    assert draws["apply"].numpy().tolist() == apply
    expected = {
        "style": [0.8757442831993103, 0.17725318670272827, 0.6628490090370178],
        "alpha": [0.22135944664478302, 0.17830529808998108, 0.2313380241394043],
        "beta": [0.20024070143699646, 0.2921377718448639, 0.2129887342453003],
    }
    draws = tiny_layer().get_random_transformation((3,), [3, 7])
    for name, values in expected.items():
        np.testing.assert_allclose(draws[name], values, rtol=1e-6)


def test_in_batch_never_takes_the_image_itself():
    from sassl_tf.in_batch import another_row

    u = np.random.default_rng(0).random((400, 5)).astype(np.float32)
    u[0], u[1] = 0.0, np.nextafter(np.float32(1), np.float32(0))
    partners = np.stack([another_row(tf.constant(row)).numpy() for row in u])
    assert (partners != np.arange(5)).all()
    for own in range(5):  # each of the others as often
        counts = np.bincount(partners[:, own], minlength=5)
        assert counts[own] == 0 and np.delete(counts, own).min() > 60


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float32, np.float64])
def test_dtype_and_shape_are_kept(augment, dtype):
    x = images(5, dtype=dtype)
    views = augment(x, seed=SEED)
    assert views.dtype == x.dtype and views.shape == x.shape
    assert views.numpy().min() >= 0 and views.numpy().max() <= 255
    assert changed(x, views).any()
    single = augment(x[0], seed=SEED)
    assert single.shape == x[0].shape and single.dtype == x.dtype


@pytest.mark.parametrize(
    "arguments", [{"probability": 0}, {"interpolation_factor": 0}, {"training": False}]
)
def test_identity_to_the_bit(arguments):
    training = arguments.pop("training", True)
    layer = tiny_layer(**arguments)
    for x in (images(), images(dtype=np.float32) * 3 - 100):
        np.testing.assert_array_equal(layer(x, training=training), x)


def test_images_that_are_not_drawn_stay_as_they_are(augment):
    x = images(40, 16, 16)
    apply = augment.get_random_transformation((40,), SEED)["apply"].numpy()
    np.testing.assert_array_equal(changed(x, augment(x, seed=SEED)), apply)
    assert not apply.all()


# How far values of bytes may lie apart where the same numbers are added in another order.
ROUNDING = {"float32": 1, "bfloat16": 4}


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize(
    "make", [tiny_layer, pytest.param(SASSLAugmentation, marks=pytest.mark.slow)]
)
def test_a_seed_is_the_same_everywhere(make, precision):
    """Eager, graph, tf.data, another layer, XLA with static shapes."""
    x = images()
    augment = make(precision=precision)
    expected = augment(x, training=True, seed=SEED).numpy()
    other = make(precision=precision, seed=77)
    static = make(precision=precision, static_shapes=True)
    runs = {
        "graph": tf.function(lambda: augment(x, seed=SEED))(),
        "another layer": other(x, seed=SEED),
        "int64": augment(x, seed=np.array(SEED, np.int64)),
        "tf.data": next(iter(tf.data.Dataset.from_tensors(x).map(lambda x: other(x, seed=SEED)))),
        # Images as an argument: of constants, XLA computes nothing that it does not know.
        "XLA": tf.function(lambda x: static(x, seed=SEED), jit_compile=True)(tf.constant(x)),
    }
    for name, views in runs.items():
        difference = np.abs(views.numpy().astype(int) - expected.astype(int)).max()
        assert difference <= ROUNDING[precision], name


@pytest.mark.parametrize("size", ["stylize_size", "encode_size"])
def test_smaller_sizes_compile_under_xla(size):
    """XLA has no operation that antialiases; the layer's matrices are the same resizing."""
    x = tf.constant(images())
    expected = tiny_layer(**{size: 16})(x, seed=SEED)
    static = tiny_layer(**{size: 16}, static_shapes=True)
    views = tf.function(lambda x: static(x, seed=SEED), jit_compile=True)(x)
    difference = np.abs(views.numpy().astype(int) - expected.numpy().astype(int))
    assert difference.max() <= 1 and changed(x, views).any()


@pytest.mark.parametrize(
    ("height", "width", "target"),
    [(40, 52, 16), (33, 100, 7), (9, 9, 8), (20, 31, 45), (64, 64, 1)],
)
def test_resizing_by_matrices_is_that_of_tensorflow(height, width, target):
    x = images(2, height, width).astype(np.float32)
    bounds = {"lowest": target} if target > min(height, width) else {"highest": target}
    expected = clamp_shorter_side(x, **bounds)
    found = clamp_shorter_side(x, **bounds, by_matrices=True)
    assert min(found.shape[1:3]) == target
    np.testing.assert_allclose(found, expected, atol=1e-3)  # of 255


def test_a_seed_of_a_number_and_a_tensor(augment):
    """As the position of an element in a dataset gives it."""
    dataset = tf.data.Dataset.from_tensors(images()).repeat(2).enumerate()
    mapped = dataset.map(lambda position, x: augment(x, seed=(3, position)))
    for position, views in enumerate(mapped):
        np.testing.assert_array_equal(views, augment(images(), seed=tf.constant([3, position])))


@pytest.mark.parametrize("seed", ["ab", keras.random.SeedGenerator(0), (1, None)])
def test_a_seed_that_is_no_two_integers_is_told(augment, seed):
    with pytest.raises(ValueError, match="expected"):
        augment(images(), seed=seed)


def test_seed_fixes_calls_in_order_and_zero_is_a_seed():
    x = images()
    runs = []
    for _ in range(2):
        layer = tiny_layer(seed=0)
        runs.append([layer(x).numpy() for _ in range(3)])
    np.testing.assert_array_equal(*runs)
    assert changed(runs[0][0], runs[0][1]).any()
    keras.utils.set_random_seed(1)
    first = tiny_layer()(x).numpy()
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(tiny_layer()(x), first)


def test_a_plain_parallel_map_never_repeats_a_draw():
    layer = tiny_layer(probability=1.0)
    x = images(1, 16, 16)[0]
    dataset = tf.data.Dataset.from_tensors(x).repeat(300)
    views = list(dataset.map(layer, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator())
    assert len({view.tobytes() for view in views}) == 300


def test_map_with_seeds(augment):
    dataset = tf.data.Dataset.from_tensor_slices(images(60, 16, 16)).batch(4)

    def run(seed=0, repeat=1):
        mapped = sassl_tf.map_with_seeds(dataset, augment, seed=seed)
        return list(mapped.repeat(repeat).as_numpy_iterator())

    first = run()
    np.testing.assert_array_equal(first, run())
    assert any(changed(a, b).any() for a, b in zip(first, run(seed=1), strict=True))
    twice = run(repeat=2)
    np.testing.assert_array_equal(first, twice[:15])
    assert any(changed(a, b).any() for a, b in zip(first, twice[15:], strict=True))
    # In order.
    plain = list(dataset.as_numpy_iterator())
    for view, x in zip(first, plain, strict=True):
        assert np.abs(view.astype(int) - x).mean() < 40


def test_map_with_seeds_gives_each_element_its_own_at_any_parallelism():
    layer = tiny_layer(probability=1.0)
    same = tf.data.Dataset.from_tensors(images(1, 16, 16)).repeat(50)
    runs = []
    for threads in (1, 4):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        mapped = sassl_tf.map_with_seeds(same, layer, seed=5).with_options(options)
        runs.append([view.tobytes() for view in mapped.as_numpy_iterator()])
    assert runs[0] == runs[1] and len(set(runs[0])) == 50


@pytest.mark.parametrize("seed", [None, "0", 1.5])
def test_map_with_seeds_needs_a_seed(seed):
    with pytest.raises(ValueError, match=r"seed is .*; expected"):
        sassl_tf.map_with_seeds(tf.data.Dataset.range(2), lambda x, seed: x, seed=seed)


def test_pairs_are_refused_with_a_word_on_how(augment):
    pairs = tf.data.Dataset.from_tensor_slices((images(4), np.arange(4)))
    with pytest.raises(ValueError, match="second positional input"):
        pairs.map(augment)


def test_map_with_seeds_on_pairs(augment):
    pairs = tf.data.Dataset.from_tensor_slices((images(4), np.arange(4)))
    mapped = sassl_tf.map_with_seeds(pairs, lambda x, y, seed: (augment(x, seed=seed), y), seed=0)
    assert [int(label) for _, label in mapped] == [0, 1, 2, 3]


def test_a_dict_passes_everything_else_through(augment):
    x = images()
    boxes = {"boxes": np.random.default_rng(0).random((6, 3, 4)), "classes": np.ones((6, 3))}
    masks = np.random.default_rng(1).integers(0, 9, (6, 40, 52, 1))
    batch = {"images": x, "labels": np.arange(6), "bounding_boxes": boxes}
    batch["segmentation_masks"] = masks
    out = augment(batch, seed=SEED)
    assert out.keys() == batch.keys()
    np.testing.assert_array_equal(out["images"], augment(x, seed=SEED))
    np.testing.assert_array_equal(out["labels"], batch["labels"])
    np.testing.assert_array_equal(out["segmentation_masks"], masks)
    np.testing.assert_array_equal(out["bounding_boxes"]["boxes"], boxes["boxes"])
    symbolic = augment({"images": keras.Input((32, 32, 3)), "labels": None})
    assert symbolic["images"].shape == (None, 32, 32, 3) and symbolic["labels"] is None


@pytest.mark.parametrize("training", [True, False])
def test_what_is_no_array_is_passed_through_too(augment, training):
    beside = {
        "files": ["a.jpg", "b.jpg"],
        "number": 3,
        "text": "a",
        "nested": {"a": [1, 2]},
        "objects": np.array([{}, None]),
        "nothing": None,
    }
    out = augment({**beside, "images": images()}, training=training, seed=SEED)
    expected = augment(images(), training=training, seed=SEED)
    np.testing.assert_array_equal(out.pop("images"), expected)
    assert out.keys() == beside.keys()
    for name, value in beside.items():
        assert out[name] is value, name


def test_in_a_model_saved_and_loaded(tmp_path):
    layer = tiny_layer(probability=0.5, seed=11, value_range=(0, 1), stylize_size=16)
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    x = images(8, 32, 32).astype(np.float32) / 255
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((8, 2)), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))
    again = loaded.layers[0]
    assert again.get_config() == layer.get_config()
    assert len(model.weights) == 2  # the stylizer adds none
    fresh = SASSLAugmentation.from_config(layer.get_config())
    np.testing.assert_array_equal(fresh(x), again(x))


def test_a_bank_and_a_stylizer_survive_the_config(tmp_path):
    bank, stylizer = tiny_bank(), tiny_stylizer()
    small = StyleBank(bank.codes[:5], bank.fingerprint)
    small.save(tmp_path / "small.npz")
    for styles in (small, tmp_path / "small.npz", str(tmp_path / "small.npz")):
        layer = SASSLAugmentation(stylizer, styles)
        again = SASSLAugmentation.from_config(layer.get_config())
        np.testing.assert_array_equal(again.style_bank.codes, small.codes)
        np.testing.assert_array_equal(again(images(), seed=SEED), layer(images(), seed=SEED))


def test_mixed_precision_changes_nothing():
    """The networks are built while the policy is another one."""
    expected = SASSLAugmentation()(images(), seed=SEED).numpy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        stylizer = sassl_tf.load_stylizer("compact", packaged("compact.safetensors"))
        layer = SASSLAugmentation(stylizer, StyleBank.default("compact"))
        np.testing.assert_array_equal(layer(images(), seed=SEED), expected)
        floats = layer(images(dtype=np.float32), seed=SEED)
    finally:
        keras.config.set_dtype_policy("float32")
    assert floats.dtype == tf.float32
    assert np.abs(floats.numpy() - expected).max() <= 0.51


@pytest.mark.parametrize("styles", ["bank", "in_batch"])
@pytest.mark.parametrize("static_shapes", [False, True])
def test_a_nan_stays_in_its_image(styles, static_shapes):
    layer = tiny_layer(styles, probability=1, static_shapes=static_shapes)
    x = images(dtype=np.float32)
    x[2, 5, 5, 1] = np.nan
    views = layer(x, seed=SEED).numpy()
    assert np.isnan(views).any(axis=(1, 2, 3)).tolist() == [i == 2 for i in range(6)]


def test_stylize_size_changes_speed_and_little_else():
    x = images(3, 64, 96)
    x = tf.image.resize(tf.image.resize(x, (8, 12)), (64, 96)).numpy()  # smooth
    arguments = {"probability": 1.0, "seed": 0}
    full = SASSLAugmentation(**arguments)(x, seed=SEED).numpy()
    half = SASSLAugmentation(stylize_size=32, **arguments)(x, seed=SEED).numpy()
    assert 0 < np.abs(full - half).mean() < 0.7 * np.abs(full - x).mean()
    larger = SASSLAugmentation(stylize_size=64, **arguments)(x, seed=SEED).numpy()
    np.testing.assert_array_equal(larger, full)


def test_stylize_size_step_by_step():
    """The change of the small image, enlarged, is added; what leaves [0, 1] is cut off."""
    layer = tiny_layer(stylize_size=24, value_range=(0, 1), precision="float32")
    x = images(3).astype(np.float32) / 255
    draws = {
        "apply": np.array([True] * 3),
        "style": np.float32([0.0, 0.5, 0.9]),
        "alpha": np.float32([0.0, 0.5, 1.0]),
        "beta": np.float32([0.2, 0.6, 1.0]),
    }
    views = layer.transform_images(x, {k: tf.constant(v) for k, v in draws.items()}).numpy()
    small = clamp_shorter_side(x, highest=24)
    bank = layer.style_bank.codes
    z_s = bank[(draws["style"] * len(bank)).astype(int)]
    z_c = layer.stylizer.encode_style(small).numpy()
    z = z_c + draws["alpha"][:, None] * (z_s - z_c)
    change = tf.image.resize(layer.stylizer.stylize(small, z) - small, (40, 52)).numpy()
    mixed = x + draws["beta"][:, None, None, None] * change
    assert (mixed < 0).any() or (mixed > 1).any()
    np.testing.assert_allclose(views, np.clip(mixed, 0, 1), atol=2e-5)


def test_numpy_numbers_are_numbers():
    layer = tiny_layer(probability=np.float32(0.5), blending_factor=np.float64(0.2))
    assert (layer.probability, layer.blending_factor) == (0.5, (0.2, 0.2))


@pytest.mark.parametrize(
    ("make", "precision", "stylize_size"),
    [
        pytest.param(SASSLAugmentation, "bfloat16", None, marks=pytest.mark.slow),
        (tiny_layer, "float32", None),
        (tiny_layer, "float32", 20),
        (tiny_layer, "bfloat16", 20),
    ],
)
def test_unknown_sizes_in_a_graph(make, precision, stylize_size):
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8)]
    layer = make(precision=precision, stylize_size=stylize_size)
    graph = tf.function(lambda x: layer(x, seed=SEED), input_signature=signature)
    for sides in ((40, 52), (21, 30)):
        x = images(4, *sides)
        difference = graph(x).numpy().astype(int) - layer(x, seed=SEED).numpy()
        assert np.abs(difference).max() <= ROUNDING[precision]


@given(
    probability=st.floats(0, 1),
    alpha=st.floats(0, 1),
    beta=st.floats(0, 1),
    value_range=st.sampled_from([(0, 1), (0, 255), (-1, 1)]),
)
@settings(max_examples=15, deadline=None)
def test_views_stay_in_range(probability, alpha, beta, value_range):
    low, high = value_range
    layer = tiny_layer(
        probability=probability,
        blending_factor=(0, alpha),
        interpolation_factor=(0, beta),
        value_range=value_range,
    )
    x = low + (high - low) * images(2, 16, 16).astype(np.float32) / 255
    views = layer(x, seed=SEED).numpy()
    assert views.min() >= low - 1e-4 and views.max() <= high + 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 1.2}, "probability is 1.2"),
        ({"blending_factor": (0.3, 0.1)}, "blending_factor is"),
        ({"interpolation_factor": (0.0, 1.5)}, "interpolation_factor is"),
        ({"value_range": (255, 0)}, "value_range is"),
        ({"stylizer": "vgg"}, "no stylizer 'vgg'"),
        ({"styles": 3}, "styles is 3"),
        ({"styles": "nowhere.npz"}, "no style bank at nowhere.npz"),
        ({"stylize_size": 4}, "stylize_size is 4"),
        ({"blending_factor": None}, "blending_factor is None"),
        ({"interpolation_factor": "high"}, "interpolation_factor is 'high'"),
        ({"interpolation_factor": True}, "interpolation_factor is True"),
        ({"probability": True}, "probability is True"),
        ({"interpolation_factor": (False, True)}, "interpolation_factor is"),
        ({"value_range": 255}, "value_range is 255"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SASSLAugmentation(**arguments)


def test_bad_images(augment):
    for shape in ((40, 40), (2, 40, 40, 1), (40, 40, 4), (1, 2, 40, 40, 3)):
        with pytest.raises(ValueError, match=r"expected \[H, W, 3\] or \[B, H, W, 3\]"):
            augment(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match='expected the images under "images"'):
        augment({"image": images()})
    assert augment(images(0)).shape == (0, 40, 52, 3)
    with pytest.raises(ValueError, match=r"int32 of shape \[2\]"):
        augment(images(), seed=tf.constant([1, 2, 3]))


def test_integers_in_a_range_of_floats():
    """Otherwise every pixel would become 0 or 1, in Dataset.map without a word."""
    layer = tiny_layer(value_range=(0, 1))
    with pytest.raises(ValueError, match=r"are uint8, and value_range is \(0, 1\).*\(0, 255\)"):
        layer(images())
    with pytest.raises(ValueError, match="are uint8"):
        tf.data.Dataset.from_tensors(images()).map(layer)
    with pytest.raises(ValueError, match="are uint8"):
        sassl_tf.TwoViews("simclr", 16, value_range=(0, 1))(images())
    layer(images(dtype=np.float32) / 255)


def test_in_batch_needs_a_batch():
    layer = tiny_layer("in_batch")
    for x in (images(1), images()[0]):
        with pytest.raises(ValueError, match="at least two images a call"):
            layer(x)
    x = images(1)
    with pytest.raises(ValueError, match="at least two images a call"):
        layer.transform_images(x, layer.get_random_transformation((1,), SEED))
    ragged = tf.data.Dataset.from_tensor_slices(images(3)).batch(2).map(layer)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least two images a call"):
        list(ragged)


def test_a_bank_of_another_stylizer_names_both():
    bank = StyleBank(np.zeros((2, 4), np.float32), "0123456789abcdef")
    stylizer = tiny_stylizer()
    with pytest.raises(ValueError, match="0123456789abcdef") as error:
        SASSLAugmentation(stylizer, bank)
    assert stylizer.fingerprint in str(error.value)
    for size in (1, stylizer.code_size + 1):
        bank = StyleBank(np.zeros((3, size)), stylizer.fingerprint)
        with pytest.raises(ValueError, match=f"codes of {size} numbers"):
            SASSLAugmentation(stylizer, bank)


def test_suspicious_values_are_said_once():
    layer = tiny_layer()
    with pytest.warns(UserWarning, match=r"Set value_range=\(0, 1\)"):
        layer(images(dtype=np.float32) / 255)
    with pytest.warns(UserWarning, match="outside value_range"):
        tiny_layer()(images(dtype=np.float32) * 2)


def test_good_values_are_not_remarked_on(recwarn):
    tiny_layer()(images())
    tiny_layer(value_range=(0, 1))(images(dtype=np.float32) / 255)
    tiny_layer()(np.zeros((2, 16, 16, 3), np.uint8))
    assert not [w for w in recwarn if "value_range" in str(w.message)]
