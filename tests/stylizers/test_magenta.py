"""The v1-256 stylizer against Magenta's own graph, and where its weights come from."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf.stylizers import hub, stylizer_from_config
from sassl_tf.stylizers.precision import processor_has_bfloat16
from tests.stylizers import hub_module

CONV = "InceptionV3/Conv2d_2a_3x3/weights"


@pytest.fixture(scope="module")
def magenta(made_up):
    return sassl_tf.stylizer_from_variables(made_up)


def test_xla_compiles_what_is_enlarged_for_the_style_network(magenta):
    """F takes no image below 43 px; CIFAR's have 32."""
    x = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    compiled = tf.function(lambda x: magenta.encode_style(x), jit_compile=True)
    enlarged = tf.image.resize(x, (43, 43), antialias=True)
    expected = magenta.encode_style(enlarged)
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def checkpoint(made_up, tmp_path_factory):
    """Magenta's form: TF1 variables by their names, and what the training left beside them."""
    folder = tmp_path_factory.mktemp("arbitrary_style_transfer")
    extra = {"global_step": np.int64(7), f"{CONV}/Adam": np.zeros(made_up[CONV].shape, np.float32)}
    names, arrays = zip(*(made_up | extra).items(), strict=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=arrays,
    )
    return folder


def images(count=2, height=48, width=56, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, height, width, 3), np.float32)


@pytest.mark.parametrize("case", ["square", "odd", "broadcast"])
def test_codes_and_pictures_are_magentas(magenta, magenta_folder, case):
    with np.load(magenta_folder / "golden_v1_256.npz") as file:
        golden = {name: file[f"{case}_{name}"] for name in ("content", "style", "code", "stylized")}
    content, style = (golden[name].astype(np.float32) / 255 for name in ("content", "style"))
    codes = magenta.encode_style(style)
    np.testing.assert_allclose(codes, golden["code"], atol=1e-4)
    _, height, width, _ = content.shape
    expected = golden["stylized"][:, :height, :width]
    np.testing.assert_allclose(magenta.stylize(content, codes), expected, atol=1e-4)


def test_any_size_against_the_second_implementation(magenta, made_up):
    """Sides that leave every remainder by 4, below and above the smallest style."""
    for height, width in ((43, 61), (66, 47)):
        content, style = images(1, height, width), images(1, width, height, seed=1)
        expected = hub_module.stylize(made_up, tf.constant(content), tf.constant(style))
        ours = magenta.stylize(content, magenta.encode_style(style))
        np.testing.assert_allclose(ours, expected[:, :height, :width], atol=1e-4)


def test_small_styles_are_enlarged(magenta):
    style = images(2, 20, 30)
    larger = tf.image.resize(style, (43, 64), antialias=True)
    codes = magenta.encode_style(style)
    np.testing.assert_allclose(codes, magenta.encode_style(larger), atol=1e-5)
    graph = tf.function(magenta.encode_style, [tf.TensorSpec((None, None, None, 3))])
    np.testing.assert_allclose(graph(style), codes, atol=1e-4)


def test_too_small_for_the_padding(magenta):
    assert magenta.stylize(images(1, 5, 8), np.zeros((1, 100), np.float32)).shape == (1, 5, 8, 3)
    with pytest.raises(ValueError, match="4×16 pixels; expected more than 4"):
        magenta.stylize(images(1, 4, 16), np.zeros((1, 100), np.float32))


def test_as_many_codes_as_images_or_one_of_either(magenta):
    x, codes = images(3), magenta.encode_style(images(3, seed=1))
    with pytest.raises(ValueError, match="2 codes for 3 images; expected as many"):
        magenta.stylize(x, codes[:2])
    for one in (magenta.stylize(x[:1], codes), magenta.stylize(x[:1].repeat(3, 0), codes)):
        apart = [magenta.stylize(x[:1], codes[i : i + 1])[0] for i in range(3)]
        np.testing.assert_allclose(one, np.stack(apart), atol=1e-4)


def test_names_may_end_in_a_number_of_an_output(magenta, made_up):
    same = sassl_tf.stylizer_from_variables({f"{name}:0": a for name, a in made_up.items()})
    assert same.fingerprint == magenta.fingerprint


def test_variables_that_do_not_fit_are_all_named(made_up):
    arrays = dict(made_up)
    del arrays["Conv/biases"]
    arrays["vgg_16/conv1/weights"] = np.zeros(3)
    arrays[CONV] = arrays[CONV][..., :5]
    beta = "transformer/contract/conv1/BatchNorm/beta"
    arrays[beta] = np.full_like(arrays[beta], np.nan)
    with pytest.raises(ValueError) as error:
        sassl_tf.stylizer_from_variables(arrays)
    for words in (
        "1 missing: Conv/biases",
        "1 unexpected: vgg_16/conv1/weights",
        f"1 of another shape: {CONV} is (3, 3, 32, 5) for (3, 3, 32, 32)",
        f"1 not finite: {beta}",
    ):
        assert words in str(error.value)


def test_a_saved_model_a_checkpoint_and_our_own_file_are_the_same(
    magenta, hub_folder, checkpoint, tmp_path
):
    path = tmp_path / "magenta.safetensors"
    for weights in (hub_folder, checkpoint, checkpoint / "model.ckpt"):
        loaded = sassl_tf.load_stylizer("magenta", weights)
        assert loaded.fingerprint == magenta.fingerprint and loaded.source == str(weights)
    loaded.save(path)
    ours = sassl_tf.load_stylizer("magenta", path)
    assert ours.fingerprint == magenta.fingerprint


def test_a_handle_goes_through_the_hub(magenta, hub_folder, monkeypatch):
    handle = "https://www.kaggle.com/models/somebody/some-model/tensorFlow1/256/2"
    monkeypatch.setattr(hub, "fetch", {handle: hub_folder}.__getitem__)
    loaded = sassl_tf.load_stylizer("magenta", handle)
    assert loaded.fingerprint == magenta.fingerprint
    assert loaded.get_config()["weights"] == handle


def test_a_saved_model_that_computes_something_else(made_up, tmp_path):
    hub_module.save_hub_module(tmp_path, made_up, hub_module.something_else)
    with pytest.raises(ValueError, match=r"differ by 0\.\d+ on a probe"):
        sassl_tf.load_stylizer("magenta", tmp_path)


def test_a_saved_model_of_other_variables(tmp_path):
    arrays = {"stranger/weights": np.ones(3, np.float32)}
    hub_module.save_hub_module(tmp_path, arrays, hub_module.something_else)
    with pytest.raises(ValueError, match=r"359 missing: .*1 unexpected: stranger/weights") as error:
        sassl_tf.load_stylizer("magenta", tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_saved_model_of_something_else(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ValueError, match="is not arbitrary-image-stylization-v1-256"):
        sassl_tf.load_stylizer("magenta", tmp_path)


def test_damaged_folders_say_so(hub_folder, checkpoint, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(hub_folder, half)
    shard = next(half.glob("variables/variables.data*"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"SavedModel in {half} .*damaged or incomplete"):
        sassl_tf.load_stylizer("magenta", half)
    shard.unlink()
    with pytest.raises(ValueError, match=r"lacks variables/variables\.data-00000-of-00001"):
        sassl_tf.load_stylizer("magenta", half)
    cut = tmp_path / "cut"
    shutil.copytree(checkpoint, cut)
    shard = next(cut.glob("*.data*"))
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(ValueError, match="truncated or damaged"):
        sassl_tf.load_stylizer("magenta", cut)
    shard.unlink()
    with pytest.raises(ValueError, match="truncated or damaged"):
        sassl_tf.load_stylizer("magenta", cut)
    ours = tmp_path / "cut.safetensors"
    ours.write_bytes(b"\x10\0\0")
    with pytest.raises(ValueError, match="damaged"):
        sassl_tf.load_stylizer("magenta", ours)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.tflite", b"\x1c\0\0\0TFL3", 'TensorFlow Lite file .that is for "magenta-mobile"'),
        ("arbitrary_style_transfer.tar.gz", b"\x1f\x8b\x08\0", "unpack it first"),
        ("picture.png", b"\x89PNG\r\n\x1a\n", "file of another kind"),
        ("nothing", None, "does not exist"),
    ],
)
def test_other_files_in_its_place(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        sassl_tf.load_stylizer("magenta", path)
    assert str(path) in str(error.value) and "expected a SavedModel folder" in str(error.value)


def test_other_folders_in_its_place(tmp_path):
    (tmp_path / "style_predict_quantized_256.tflite").write_bytes(b"")
    with pytest.raises(ValueError, match="folder of TensorFlow Lite files"):
        sassl_tf.load_stylizer("magenta", tmp_path)


def test_bfloat16_is_close_and_keeps_the_fingerprint(magenta):
    twin = magenta.in_precision("bfloat16")
    assert twin.fingerprint == magenta.fingerprint
    assert magenta.in_precision("float32") is magenta
    x = images(2, 64, 64)
    codes = magenta.encode_style(x)
    assert twin.encode_style(x).dtype == tf.float32
    assert 0 < np.abs(twin.encode_style(x) - codes).max() < 0.1
    error = np.abs(twin.stylize(x, codes) - magenta.stylize(x, codes))
    assert 1e-4 < error.mean() < 0.02
    with pytest.raises(ValueError, match='expected "float32", "bfloat16" or None'):
        magenta.in_precision("float16")


def test_precision_by_itself_follows_the_processor(magenta, monkeypatch):
    fast = magenta.in_precision()
    assert (fast is not magenta) == processor_has_bfloat16()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert magenta.in_precision() is magenta


def layer_of(stylizer, **arguments):
    return sassl_tf.SASSLAugmentation(
        stylizer, probability=1.0, value_range=(0, 1), **{"precision": "float32", **arguments}
    )


def test_the_layer_is_algorithm_1(magenta, made_up):
    """Step by step, by the second implementation's F; T takes the blended code."""
    x = images(3)
    bank = sassl_tf.StyleBank.from_images(images(5, 64, 64, seed=1), magenta)
    layer = layer_of(magenta, styles=bank)
    draws = layer.get_random_transformation((3,), (1, 2))
    z_c = hub_module.code(made_up, tf.constant(x)).numpy()
    z_s = bank.codes[(draws["style"].numpy() * len(bank)).astype(int)]
    alpha, beta = draws["alpha"].numpy()[:, None], draws["beta"].numpy()[:, None, None, None]
    stylized = magenta.stylize(x, (1 - alpha) * z_c + alpha * z_s).numpy()
    expected = (1 - beta) * x + beta * stylized
    np.testing.assert_allclose(layer(x, seed=(1, 2)), expected, atol=1e-4)


def test_the_layer_in_tf_data_and_in_a_saved_model(magenta, tmp_path):
    x = images(6)
    layer = layer_of(magenta)  # the styles of the batch: there is no bank for it in the package
    dataset = sassl_tf.map_with_seeds(tf.data.Dataset.from_tensor_slices(x).batch(3), layer, seed=0)
    views = np.concatenate(list(dataset.as_numpy_iterator()))
    assert views.shape == x.shape and np.abs(views - x).mean() > 0.01
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[0].stylizer is magenta
    np.testing.assert_array_equal(again(x, training=False), x)
    assert not again.weights
    expected = layer(x, seed=(3, 4))
    np.testing.assert_allclose(again.layers[0](x, seed=(3, 4)), expected, atol=1e-6)


def test_a_saved_layer_whose_stylizer_is_gone(magenta, tmp_path):
    config = {**magenta.get_config(), "weights": str(tmp_path), "fingerprint": "0" * 16}
    with pytest.raises(ValueError, match="found by its fingerprint") as error:
        stylizer_from_config(config)
    assert "0" * 16 in str(error.value) and str(tmp_path) in str(error.value)


def test_mixed_bfloat16_changes_nothing(magenta):
    x = images(2)
    expected = layer_of(magenta)(x, seed=(5, 6)).numpy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        views = layer_of(magenta)(x, seed=(5, 6))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(views, expected, atol=1e-5)


def test_the_smaller_f_sees_the_image_reduced(magenta):
    x = images(2, 128, 96)
    bank = sassl_tf.StyleBank(np.zeros((1, 100), np.float32), magenta.fingerprint)
    arguments = {"blending_factor": 0.0, "interpolation_factor": 1.0, "styles": bank}
    layer = layer_of(magenta, encode_size=48, **arguments)
    codes = magenta.encode_style(tf.image.resize(x, (64, 48), antialias=True))
    np.testing.assert_allclose(layer(x, seed=(1, 2)), magenta.stylize(x, codes), atol=1e-4)
