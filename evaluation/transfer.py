"""An encoder on a list of datasets, by several protocols; continues where it was broken off.

    python -m evaluation.transfer --encoder=runs/simclr --datasets=folder:pets,folder:textures
    python -m evaluation.transfer --encoder=runs/simclr --datasets=paper --data_dir=DIR

`--datasets=paper` is the eleven targets of arXiv 2312.01187; `TARGETS` has their names, those of
TFDS, and the metric of each: top-1 accuracy, or the mean over the classes where the field uses it.
What is done is not done again, as long as encoder and images are the same; a dataset that fails is
told at the end, and the others go on. Each result is a JSON file in the workdir, for
evaluation.report.
"""

import dataclasses
import functools
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from absl import app, flags

from evaluation import few_shot, knn, linear_probe
from evaluation.encoders import encoder_fingerprint, load_encoder, workdir_of
from evaluation.frozen import labelled_splits, result_name
from training.logs import say


@dataclasses.dataclass(frozen=True)
class Target:
    """A dataset and how accuracy is counted on it.

    Attributes:
        spec: for `load_dataset`.
        metric: "accuracy", "mean_per_class_accuracy" or "quadratic_kappa".
        by_hand: what has to be done first where TFDS cannot download it.
    """

    spec: str
    metric: str = "accuracy"
    by_hand: str = ""


IMAGENET = (
    "download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org into "
    "DATA_DIR/downloads/manual"
)
RETINOPATHY = (
    "download sample.zip, test.zip, train.zip and the labels of the Kaggle competition "
    "diabetic-retinopathy-detection into DATA_DIR/downloads/manual, as TFDS's page of it says"
)
PAPER = {
    "imagenet_1pct": Target("tfds:imagenet2012_subset/1pct", by_hand=IMAGENET),
    "inat21": Target("tfds:i_naturalist2021"),
    "retinopathy": Target("tfds:diabetic_retinopathy_detection", by_hand=RETINOPATHY),
    "dtd": Target("tfds:dtd"),
    "food101": Target("tfds:food101"),
    "cifar10": Target("tfds:cifar10"),
    "cifar100": Target("tfds:cifar100"),
    "sun397": Target("tfds:sun397"),
    "cars": Target("tfds:cars196"),
    "caltech101": Target("tfds:caltech101", "mean_per_class_accuracy"),
    "flowers": Target("tfds:oxford_flowers102", "mean_per_class_accuracy"),
}
TARGETS = {**PAPER, "pets": Target("tfds:oxford_iiit_pet", "mean_per_class_accuracy")}


PROTOCOLS = {
    "linear_probe": linear_probe.evaluate,
    "knn": knn.evaluate,
    "few_shot_1": functools.partial(few_shot.evaluate, shots=1),
    "few_shot_10": functools.partial(few_shot.evaluate, shots=10),
}


def targets_of(names):
    """[Target] of names: "paper", one of `TARGETS`, or a spec for `load_dataset`.

    Raises:
        ValueError: an unknown name.
    """
    found = []
    for name in names:
        if name == "paper":
            found.extend(PAPER.values())
        elif name in TARGETS:
            found.append(TARGETS[name])
        elif name == "shapes" or ":" in name:
            found.append(Target(name))
        else:
            raise ValueError(
                f"There is no target {name!r}; give paper, {', '.join(TARGETS)}, tfds:NAME, "
                "folder:PATH or shapes."
            )
    return found


def transfer(encoder_path, targets, protocols, data_dir=None, workdir=None, image_size=None):
    """Evaluates an encoder on all targets by all protocols, leaving out what is done.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        targets: of `targets_of`.
        protocols: names in `PROTOCOLS`.
        data_dir: the folder of prepared TFDS datasets.
        workdir: of results and features; by default the encoder's own.
        image_size: by default what the encoder was made for.

    Returns:
        ({(spec, protocol): result}, {(spec, protocol): why it failed}).

    Raises:
        ValueError: an unknown protocol, or no such encoder.
    """
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown:
        raise ValueError(f"There is no protocol {unknown[0]!r}; there are {', '.join(PROTOCOLS)}.")
    fingerprint = encoder_fingerprint(load_encoder(encoder_path))
    results, failures = {}, {}
    for target in targets:
        for protocol in protocols:
            key = target.spec, protocol
            try:
                done = _done(workdir or workdir_of(encoder_path), *key, fingerprint, data_dir)
                say(f"{protocol} on {target.spec}{': done before' if done else ''}")
                results[key] = done or PROTOCOLS[protocol](
                    encoder_path, target.spec, data_dir, workdir, image_size
                )
            except (ValueError, OSError, tf.errors.OpError) as error:
                hint = f" By hand: {target.by_hand}." if target.by_hand else ""
                failures[key] = f"{error}{hint}"
                say(f"{protocol} on {target.spec} failed: {failures[key]}")
    return results, failures


def table(targets, results):
    """The results as Markdown: a row for each target, its own metric in %."""
    protocols = list(dict.fromkeys(protocol for _, protocol in results))
    lines = [
        f"| dataset | metric | {' | '.join(protocols)} |",
        "|---|---|" + "---|" * len(protocols),
    ]
    for target in targets:
        found = [results.get((target.spec, protocol)) for protocol in protocols]
        cells = [f"{100 * result[target.metric]:.2f}" if result else "" for result in found]
        lines.append(f"| {target.spec} | {target.metric} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _done(workdir, spec, protocol, fingerprint, data_dir):
    """The result there is, if it is of this encoder and these images; else None."""
    file = pathlib.Path(workdir) / result_name(protocol, spec) if workdir else None
    if file is None or not file.is_file():
        return None
    result = json.loads(file.read_text())
    images = {split.split: split.fingerprint for split in labelled_splits(spec, data_dir)}
    same = result["encoder_fingerprint"] == fingerprint and result["dataset_fingerprints"] == images
    return result if same else None


def main(_):
    values = flags.FLAGS
    targets = targets_of(values.datasets)
    results, failures = transfer(
        values.encoder,
        targets,
        values.protocols,
        values.data_dir,
        values.workdir,
        values.image_size,
    )
    print(table(targets, results))
    if failures:
        print(f"\n{len(failures)} failed; the same command tries them again:")
        for (spec, protocol), why in failures.items():
            print(f"  {protocol} on {spec}: {why}")
        raise SystemExit(1)


if __name__ == "__main__":
    flags.DEFINE_string("encoder", None, "A .keras file or a pretraining workdir.", required=True)
    flags.DEFINE_list("datasets", None, "paper, names of targets, or specs.", required=True)
    flags.DEFINE_list("protocols", "linear_probe,knn", f"Some of {', '.join(PROTOCOLS)}.")
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    flags.DEFINE_string("workdir", None, "Of results and features; by default the encoder's.")
    flags.DEFINE_integer("image_size", None, "Side of the images; by default the encoder's own.")
    app.run(main)
