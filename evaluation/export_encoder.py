"""Exports an encoder for serving without Keras: SavedModel, ONNX, LiteRT or OpenVINO.

    python -m evaluation.export_encoder --encoder=runs/simclr --output=exported/simclr
    python -m evaluation.export_encoder --encoder=runs/simclr --format=onnx --output=simclr.onnx

All formats map float32 [B, H, W, 3] in [0, 1] to features float32 [B, D], and B, H and W are free
unless `--image_size` fixes the sides. Keras's own `Model.export` writes the files. If the runtime
of the format is installed, it then computes the features of a batch of noise, which must be those
of Keras.
"""

import contextlib
import importlib
import pathlib
import warnings

import keras
import numpy as np
from absl import flags

from evaluation import exported
from evaluation.encoders import default_image_size, load_encoder
from evaluation.flags import define_import_flag
from sassl_tf.errors import UserError
from sassl_tf.extras import import_extra
from sassl_tf.files import replacing
from sassl_tf.typing import PathLike
from training.command import binary

# The end of the output's name in each format; "" is a folder.
SUFFIXES = {"saved_model": "", "onnx": ".onnx", "litert": ".tflite", "openvino": ".xml"}
CONVERTERS = {"onnx": ("tf2onnx", "onnx"), "openvino": ("openvino",)}  # Keras calls them
IMAGES = 3  # of the comparison
TOLERANCE = 1e-4  # of the largest feature


def export_encoder(
    encoder_path: PathLike,
    output: PathLike,
    format: str = "saved_model",
    image_size: int | None = None,
) -> float | None:
    """Writes an encoder in a format of other runtimes.

    Args:
        encoder_path: a `.keras` file, or the workdir of a pretraining.
        output: the folder (SavedModel) or file to make; it must not exist yet. OpenVINO's `.xml`
            gets a `.bin` beside it, with the weights.
        format: one of `SUFFIXES`.
        image_size: the height and the width of the images, for runtimes that need fixed shapes;
            None leaves them free, where the encoder does.

    Returns:
        The largest difference from Keras's features, as a share of the largest feature; None if
        the format's runtime is not installed.

    Raises:
        ValueError: the output exists or has another suffix, there is no encoder, or the features
            differ by more than `TOLERANCE`; then nothing is written.
        ImportError: a package that the format needs is not installed.
    """
    path = _checked_output(output, format)
    for package in CONVERTERS.get(format, ()):
        import_extra(package, format, f"The format {format}")
    encoder = load_encoder(encoder_path)
    if format != "saved_model":
        encoder = in_float32(encoder)
    _, height, width, channels = encoder.inputs[0].shape
    shape = (None, image_size or height, image_size or width, channels)
    side = image_size or default_image_size(encoder_path, encoder)
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(replacing(path))
        if format == "openvino":  # the weights get their name before the .xml that points to them
            stack.enter_context(replacing(path.with_suffix(".bin")))
        _export(encoder, beside, format, shape)
        return _difference(encoder, beside, format, side)


def in_float32(encoder: keras.Model) -> keras.Model:
    """Returns an encoder that computes in float32: itself, or a copy of a mixed-precision one.

    The weights are float32 in both. The converters of the formats take no bfloat16.
    """
    if all(layer.compute_dtype == "float32" for layer in encoder._flatten_layers()):
        return encoder
    copy = encoder.__class__.from_config(_float32_config(encoder.get_config()))
    copy.set_weights(encoder.get_weights())
    return copy


def _float32_config(config):
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {key: _float32_config(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(map(_float32_config, config))
    return config


def _checked_output(output, format):
    if format not in SUFFIXES:
        raise UserError(f"The format is {format!r}; the formats are {', '.join(SUFFIXES)}.")
    output, suffix = pathlib.Path(output).expanduser(), SUFFIXES[format]
    if suffix and output.suffix != suffix:
        raise UserError(
            f"The output of the format {format} is {str(output)!r}; give a name that ends with "
            f"{suffix}."
        )
    for path in (output, output.with_suffix(".bin") if format == "openvino" else output):
        if path.exists():
            raise UserError(f"{path} is there already; give the name of a new file or folder.")
    return output


def _export(encoder, path, format, shape):
    name = "tf_saved_model" if format == "saved_model" else format
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="images")]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*np.object.*", FutureWarning)  # Keras asks for it
        try:
            encoder.export(str(path), format=name, input_signature=signature, verbose=False)
        except ValueError as error:
            if "Unrecognized format" not in str(error):
                raise
            raise UserError(
                f"Keras {keras.__version__} exports no {format}. Install a later one: pip install "
                "--upgrade keras."
            ) from error


def _difference(encoder, path, format, side):
    """Returns the largest difference of features as `export_encoder` does, after a check."""
    if exported.missing_runtime(format):
        return None
    images = np.random.default_rng(0).random((IMAGES, side, side, 3), np.float32)
    expected = np.asarray(encoder(images, training=False))
    features = exported.features(path, format, images)
    difference = float(np.abs(features - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not difference <= TOLERANCE:
        raise UserError(
            f"The features of the exported {format} differ from those of Keras by {difference:.1g} "
            f"of the largest feature, more than {TOLERANCE:g}; nothing is written. Try another "
            "format, or other versions of its packages."
        )
    return difference


def main(_: list[str]) -> None:
    values = flags.FLAGS
    difference = export_encoder(values.encoder, values.output, values.format, values.image_size)
    print(f"Wrote {values.output}.")
    runtime = exported.RUNTIMES[values.format]
    if difference is None:
        print(f"It was not tried, as {runtime} is not installed.")
    else:
        version = importlib.metadata.version(runtime)
        print(f"{runtime} {version} gives Keras's features, to {difference:.1g} of the largest.")


if __name__ == "__main__":
    define_import_flag()
    flags.DEFINE_string(
        "encoder", None, "The encoder: a .keras file, a workdir or a preset.", required=True
    )
    flags.DEFINE_string("output", None, "The folder or file to make.", required=True)
    flags.DEFINE_enum(
        "format",
        "saved_model",
        list(SUFFIXES),
        "The format. The output is a folder for saved_model; a .onnx file; a .tflite file for "
        "litert; an .xml file, with a .bin beside it, for openvino.",
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "The side of the images in pixels, for runtimes that need fixed shapes; by default any "
        "side.",
        lower_bound=1,
    )
    binary.run(main)
