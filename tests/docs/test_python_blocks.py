"""Every Python block of README and docs is run, with what its reader would have at hand."""

import keras
import pytest
import tensorflow as tf

import sassl_tf
from sassl_tf import samples
from tests.docs.pages import blocks, name, with_blocks, write_images
from tests.stylizers.hub_module import made_up_variables, save_hub_module

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def magenta(tmp_path_factory):
    """What the pages call Magenta's weights, with numbers made up, in a folder of its own."""
    folder = tmp_path_factory.mktemp("magenta")
    save_hub_module(folder / "hub", made_up_variables())
    stylizer = sassl_tf.load_stylizer("magenta", weights=folder / "hub")
    stylizer.save(folder / "magenta.safetensors")
    return folder


@pytest.mark.parametrize("page", with_blocks("python"), ids=name)
def test_python(page, magenta, tmp_path, monkeypatch):
    """One namespace for a page, with what its reader would have: images, a dataset, an encoder."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "paintings")
    load = sassl_tf.load_stylizer

    def load_made_up(stylizer, weights=None):
        """Wherever a page says that Magenta's weights are."""
        return load(stylizer, magenta / "magenta.safetensors" if stylizer == "magenta" else weights)

    monkeypatch.setattr(sassl_tf, "load_stylizer", load_made_up)
    resnet = keras.applications.ResNet50  # without the download of its weights
    untrained = lambda **arguments: resnet(**{**arguments, "weights": None})  # noqa: E731
    monkeypatch.setattr(keras.applications, "ResNet50", untrained)
    images = samples.photographs(64)
    encoder = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten()])
    keras.Sequential([sassl_tf.SASSLAugmentation(), encoder]).save("model.keras")
    namespace = {
        "tf": tf,
        "keras": keras,
        "sassl_tf": sassl_tf,
        "images": images,
        "labels": tf.data.Dataset.range(4),
        "dataset": tf.data.Dataset.from_tensor_slices(images),
        "encoder": encoder,
    }
    for number, block in enumerate(blocks(page, "python"), start=1):
        exec(compile(block, f"{name(page)}, block {number}", "exec"), namespace)
        for made in ("dataset", "views"):
            if isinstance(namespace.get(made), tf.data.Dataset):
                assert next(iter(namespace[made])) is not None
        namespace["dataset"] = tf.data.Dataset.from_tensor_slices(images)
