"""Makes a preset of a pretraining, to keep, to pass on or to upload.

    python -m evaluation.save_preset --encoder=runs/simclr --output=presets/simclr
    python -m evaluation.save_preset --encoder=runs/simclr --output=presets/simclr \
        --upload=hf://owner/name --license=apache-2.0

The folder gets `encoder.keras`; `config.json`, without the folders of this machine; `metrics.json`,
the results of the evaluations in the workdir and the last metrics of the training; and `README.md`,
a model card made of them. `sassl_tf.load_encoder` loads it from the folder or from the Hub.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
from absl import flags

from evaluation.encoders import load_encoder
from evaluation.flags import define_import_flag
from evaluation.folders import without_folders
from evaluation.results import (
    DENSE_METRICS,
    METRICS,
    dense_metrics,
    read_results,
    with_spread,
)
from sassl_tf.checked import read_json
from sassl_tf.errors import UserError
from sassl_tf.paths import as_path
from sassl_tf.presets import check_upload, save_to_preset, upload_preset
from sassl_tf.representation.features import encoder_fingerprint
from sassl_tf.typing import PathLike
from training.command import binary
from training.configs.earlier import up_to_date
from training.encoders import packages_of
from training.engine.workdir import CONFIG_FILE
from training.report.metrics import read_metrics
from training.styles import NONE

METHODS = {
    "simclr": "SimCLR",
    "moco": "MoCo v2",
    "moco_v3": "MoCo v3",
    "byol": "BYOL",
    "simsiam": "SimSiam",
    "barlow_twins": "Barlow Twins",
    "vicreg": "VICReg",
    "dino": "DINO",
}
KEPT = (  # of a result: the numbers, and all that says how they came about
    "evaluation",
    "revision",
    "dataset",
    "dataset_fingerprints",
    *METRICS,
    "shape_bias",
    *DENSE_METRICS,
    "std",
    "trials",
    "settings",
    "image_size",
    "crop_proportion",
    "preparation",
    "classes",
    "train_images",
    "test_images",
    "versions",
)


def save_preset(workdir: PathLike, output: PathLike, license: str = "", address: str = "") -> None:
    """Makes a preset of a workdir.

    Args:
        workdir: the workdir of a pretraining that has ended.
        output: the folder to make; it must not exist yet.
        license: the licence of the weights, as Hugging Face names it, such as "apache-2.0"; "" if
            none is given.
        address: the place that it will be uploaded to, for the card, such as "hf://owner/name"; ""
            if none is known yet.

    Raises:
        ValueError: there is no such workdir or encoder, or the output exists.
    """
    workdir = as_path(workdir)
    encoder = load_encoder(workdir)
    if not (workdir / CONFIG_FILE).is_file():
        raise UserError(
            f"{workdir} is no workdir of a pretraining: it has no {CONFIG_FILE}. For an encoder "
            "from elsewhere, call sassl_tf.save_to_preset."
        )
    config = without_folders(up_to_date(read_json(workdir / CONFIG_FILE)))
    metrics = results_of(workdir, encoder_fingerprint(encoder))
    text = card(pathlib.Path(output).name, encoder, config, metrics, license, address)
    save_to_preset(workdir, output, config, metrics, text)


def results_of(workdir: PathLike, fingerprint: str) -> dict[str, Any]:
    """Returns {"evaluations": list of results, "training": dict of the last metrics}.

    Args:
        workdir: the workdir of the pretraining.
        fingerprint: of the encoder; results of another one are left out.
    """
    kept = [
        {key: result[key] for key in KEPT if key in result}
        for result in read_results(workdir)
        if result.get("encoder_fingerprint") == fingerprint
    ]
    last = {name: value for row in read_metrics(workdir) for name, value in row.items()}
    return {"evaluations": without_folders(kept), "training": last}


def card(
    name: str,
    encoder: keras.Model,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    license: str,
    address: str = "",
) -> str:
    """Returns the model card, Markdown with the head that Hugging Face reads.

    Args:
        name: of the preset.
        encoder: the Keras model.
        config: as it is in the preset.
        metrics: as `results_of` returns them.
        license: as for `save_preset`.
        address: as for `save_preset`.
    """
    method = METHODS.get(config["method"], config["method"])
    source = address or f"hf://OWNER/{name}"
    head = ["library_name: keras", "pipeline_tag: image-feature-extraction"]
    head += [f"license: {license}"] if license else []
    head += ["tags:", "- self-supervised-learning", "- sassl_tf"]
    count, size = encoder.count_params() / 1e6, encoder.outputs[0].shape[-1]
    lines = [
        "---",
        *head,
        "---",
        f"# {name}",
        "",
        f"A {config['encoder']['name']} of {count:.3g} M parameters that {method} pretrained "
        f"without labels on `{config['dataset']}`. It maps images float32 [B, H, W, 3] in [0, 1] "
        f"to {size} features; it was trained on views of {config['image_size']} px.",
        "",
        "```python",
        "import sassl_tf",
        "",
        f'encoder = sassl_tf.load_encoder("{source}")  # or the folder of this file',
        "features = encoder(images / 255.0)",
        "```",
        "",
        _about_keras(encoder),
        "",
        "## Training",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _training_rows(config, metrics)),
        "",
        "`config.json` has all settings.",
        "",
        "## Results",
        "",
        *_results_table(metrics["evaluations"]),
        "",
        "## Limits",
        "",
        "The features know what the images above and the augmentations of the training teach. "
        "Nothing here says how they do on other images: evaluate them there first.",
        "",
    ]
    return "\n".join(lines)


def _about_keras(encoder):
    """Says what Keras alone needs to load the file: the packages that define its layers."""
    packages = packages_of(encoder)
    if not packages:
        return "`keras.saving.load_model` loads `encoder.keras` without the package too."
    imports = " and ".join(f"`import {package}`" for package in packages)
    return f"`keras.saving.load_model` loads `encoder.keras` too, after {imports}."


def _training_rows(config, metrics):
    optimizer, last = config["optimizer"], metrics["training"]
    yield "style augmentation", _style(config)
    yield "images", config.get("fingerprints", {}).get("images", "unknown")
    yield "epochs", f"{config['epochs']:g}"
    yield "batch", config["batch_size"]
    yield "optimizer", f"{optimizer['name']}, learning rate {optimizer['learning_rate']:g}"
    yield "precision", config["precision"]
    yield "seed", config["seed"]
    for name in ("loss", "knn_accuracy", "feature_std", "effective_rank"):
        if name in last:
            yield f"last {name}", f"{last[name]:.4g}"


def _style(config):
    name = config["style"]
    if name == NONE:
        return "none"
    section = config[name]
    if name != "sassl":
        arguments = (f"{field} {json.dumps(section[field])}" for field in sorted(section))
        return ", ".join([name, *arguments])
    alpha, beta = (_range(section, k) for k in ("blending_factor", "interpolation_factor"))
    return (
        f"SASSL (arXiv 2312.01187): {section['stylizer']} stylizer, styles {section['styles']}, "
        f"p {section['probability']:g}, α {alpha}, β {beta}"
    )


def _range(section, factor):
    end = section[f"{factor}_end"]
    return json.dumps(section[factor]) + (f" to {json.dumps(end)} at the end" if end else "")


def _results_table(evaluations):
    if not evaluations:
        return ["No evaluation was made yet."]
    rows = [
        f"| {result['evaluation']} | {result['dataset']} | {_metrics(result)} | "
        f"{result.get('train_images', '')} / {result.get('test_images', '')} |"
        for result in evaluations
    ]
    head = ["| evaluation | dataset | on the test split | images, train / test |"]
    return [*head, "|---|---|---|---|", *rows, "", "`metrics.json` has them with their settings."]


def _metrics(result):
    if result.get("shape_bias") is not None:
        return f"shape bias {with_spread(result, 'shape_bias')}"
    if result.get("accuracy") is None:
        return ", ".join(dense_metrics(result)) or "–"
    # The one that choices were made by.
    metric = result.get("settings", {}).get("metric", "accuracy")
    return f"{metric.replace('_', ' ')} {with_spread(result, metric)}"


def main(_: list[str]) -> None:
    values = flags.FLAGS
    if values.upload:
        check_upload(values.upload)
    save_preset(values.encoder, values.output, values.license, values.upload)
    if values.upload:
        upload_preset(values.upload, values.output)
        print(f"Wrote {values.output} and uploaded it to {values.upload}.")
    else:
        print(f"Wrote {values.output}. Read its README.md before you pass it on.")


if __name__ == "__main__":
    define_import_flag()
    flags.DEFINE_string("encoder", None, "The workdir of a pretraining.", required=True)
    flags.DEFINE_string("output", None, "The folder to make.", required=True)
    flags.DEFINE_string(
        "upload",
        "",
        "The place to upload it to: hf://owner/name or kaggle://owner/model/keras/variation.",
    )
    flags.DEFINE_string(
        "license", "", "The licence of the weights as Hugging Face names it, such as apache-2.0."
    )
    binary.run(main)
