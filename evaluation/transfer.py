"""An encoder on a list of datasets, by several protocols; continues where it was broken off.

    python -m evaluation.transfer --encoder=runs/simclr --datasets=folder:pets,folder:textures
    python -m evaluation.transfer --encoder=runs/simclr --datasets=paper --data_dir=DIR
    python -m evaluation.transfer --encoder=runs/simclr --datasets=dtd,inat21=folder:inat

`--datasets=paper` is the eleven targets of arXiv 2312.01187; `TARGETS` has the name of each in
TFDS, its metrics (top-1 accuracy, or the mean over the classes where the field uses it) and its
preprocessing. NAME=SPEC takes the images from elsewhere, for instance from class folders.

What is done is not done again, as long as encoder, images and preprocessing are the same; a dataset
that fails is told at the end, and the others go on. Each result is a JSON file in the workdir, for
evaluation.report; all of them together are `transfer.md`, `transfer.json` and `transfer.png`.
"""

import dataclasses
import functools
import inspect
import json
import pathlib
from typing import Any

import tensorflow as tf
from absl import flags

from evaluation import few_shot, finetune, knn, linear_probe, sgd_probe
from evaluation.encoders import default_image_size, load_encoder
from evaluation.frozen import labelled_splits, result_name, result_workdir, revision_of
from sassl_tf import plot
from sassl_tf.checked import cached, read_json
from sassl_tf.files import replacing
from sassl_tf.nearest import nearest
from sassl_tf.representation.features import CROP_PROPORTION, PREPARATION, encoder_fingerprint
from training.command import binary
from training.engine.workdir import this_command
from training.report.logs import say


@dataclasses.dataclass(frozen=True)
class Target:
    """A dataset, how its images are prepared and how accuracy is counted on it.

    Attributes:
        spec: for `load_dataset`; "" where TFDS does not have it, or too much of it.
        metrics: of "accuracy", "mean_per_class_accuracy" and "quadratic_kappa"; the first is
            what settings are chosen by.
        crop_proportion: as for `sassl_tf.representation.features.prepare_image`.
        by_hand: what has to be done first where TFDS cannot download it.
        name: of the target; the spec, where it has no name.
    """

    spec: str
    metrics: tuple[str, ...] = ("accuracy",)
    crop_proportion: float = CROP_PROPORTION
    by_hand: str = ""
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "name", self.name or self.spec)


IMAGENET = (
    "download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org into "
    "DATA_DIR/downloads/manual"
)
RETINOPATHY = (
    "download sample.zip, test.zip, train.zip and the labels of the Kaggle competition "
    "diabetic-retinopathy-detection into DATA_DIR/downloads/manual, as TFDS's page of it says"
)
INAT = (
    "it has 240 GB; python -m training.convert_dataset --source=tfds:i_naturalist2021 "
    "--output=inat21 writes it to class folders; then give inat21=folder:inat21"
)
AIRCRAFT = (
    "TFDS does not have it: download fgvc-aircraft-2013b.tar.gz from "
    "www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft, write its images to folders "
    "aircraft/{train,val,test}/VARIANT, and give aircraft=folder:aircraft"
)
CARS = "the address that TFDS knows is gone: put the files where its message says"
BY_CLASS = ("mean_per_class_accuracy",)
# Crops of the whole shorter side, as in SimCLR's appendix B.8 and ssl-transfer; for ImageNet and
# iNaturalist the usual 224 of 256.
WHOLE: dict[str, Any] = {"crop_proportion": 1.0}
PAPER = {
    "imagenet_1pct": Target("tfds:imagenet2012_subset/1pct", by_hand=IMAGENET),
    "inat21": Target("", by_hand=INAT),
    "retinopathy": Target(
        "tfds:diabetic_retinopathy_detection/btgraham-300",
        ("accuracy", "quadratic_kappa"),
        by_hand=RETINOPATHY,
        **WHOLE,
    ),
    "dtd": Target("tfds:dtd", **WHOLE),
    "food101": Target("tfds:food101", **WHOLE),
    "cifar10": Target("tfds:cifar10", **WHOLE),
    "cifar100": Target("tfds:cifar100", **WHOLE),
    "sun397": Target("tfds:sun397/standard-part1-120k", **WHOLE),
    "cars": Target("tfds:cars196", by_hand=CARS, **WHOLE),
    "caltech101": Target("tfds:caltech101", BY_CLASS, **WHOLE),
    "flowers": Target("tfds:oxford_flowers102", BY_CLASS, **WHOLE),
}
TARGETS = {
    **PAPER,
    "pets": Target("tfds:oxford_iiit_pet", BY_CLASS, **WHOLE),
    "aircraft": Target("", BY_CLASS, by_hand=AIRCRAFT, **WHOLE),
}
TARGETS = {name: dataclasses.replace(target, name=name) for name, target in TARGETS.items()}
PROTOCOLS = (
    *("linear_probe", "sgd_probe", "knn", "few_shot_1", "few_shot_10"),
    *("finetune", "finetune_0.1", "finetune_0.01"),
)


FAILURES = (ValueError, OSError, tf.errors.OpError)
PREPARATIONS = ("data_dir", "workdir", "image_size", "crop_proportion")


def protocol_of(name):
    """The function (encoder_path, spec, **options) of a protocol.

    Args:
        name: one of `PROTOCOLS`; few_shot_N and finetune_SHARE with any number.

    Raises:
        ValueError: an unknown one.
    """
    alone = {
        "linear_probe": linear_probe.evaluate,
        "sgd_probe": sgd_probe.evaluate,
        "knn": knn.evaluate,
        "finetune": finetune.evaluate,
    }
    if name in alone:
        return alone[name]
    kind, _, number = name.rpartition("_")
    if kind == "few_shot" and number.isdigit():
        return functools.partial(few_shot.evaluate, shots=int(number))
    if kind == "finetune" and _is_share(number):
        return functools.partial(finetune.evaluate, label_share=float(number))
    raise ValueError(
        f"There is no protocol {name!r}.{nearest(name, PROTOCOLS)} There are "
        f"{', '.join(PROTOCOLS)}, and others of the last kinds: few_shot_5, finetune_0.05."
    )


def _is_share(text):
    try:
        return 0 < float(text) < 1 and f"{float(text):g}" == text  # as the results are named
    except ValueError:
        return False


def targets_of(names):
    """[Target] of names: "paper", one of `TARGETS`, a spec for `load_dataset`, or NAME=SPEC.

    Raises:
        ValueError: an unknown name.
    """
    found = {}  # by name: what is named again, with a spec, takes the place of the first
    for text in names:
        name, _, spec = text.partition("=")
        if text == "paper":
            found.update((name, TARGETS[name]) for name in PAPER)
        elif name in TARGETS:
            target = TARGETS[name]
            found[name] = dataclasses.replace(target, spec=spec, by_hand="") if spec else target
        elif text == "shapes" or ":" in name:
            found[text] = Target(text)
        else:
            raise ValueError(
                f"There is no target {name!r}.{nearest(name, TARGETS)} Give paper, "
                f"{', '.join(TARGETS)}, tfds:NAME, folder:PATH, shapes, or NAME=SPEC for one that "
                "has a name."
            )
    return [*found.values()]


def transfer(encoder_path, targets, protocols, workdir=None, **preparation):
    """Evaluates an encoder on all targets by all protocols, leaving out what is done.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        targets: of `targets_of`.
        protocols: names for `protocol_of`.
        workdir: of results and features; by default the encoder's own.
        **preparation: `data_dir` and `image_size`, as for `evaluation.frozen.frozen_features`.

    Returns:
        ({(target's name, protocol): result}, {(target's name, protocol): why it failed}).

    Raises:
        ValueError: an unknown protocol, or no such encoder.
    """
    evaluations = {name: protocol_of(name) for name in protocols}
    workdir = result_workdir(encoder_path, workdir)
    encoder = load_encoder(encoder_path)
    expected = {
        "encoder_fingerprint": encoder_fingerprint(encoder),
        "image_size": preparation.get("image_size") or default_image_size(encoder_path, encoder),
        "preparation": PREPARATION,
    }
    results, failures = {}, {}
    for target in targets:
        options = {**preparation, "crop_proportion": target.crop_proportion}
        try:
            if not target.spec:
                raise ValueError(f"There are no images of {target.name}.")
            splits = labelled_splits(target.spec, preparation.get("data_dir"))
        except FAILURES as error:
            failures.update({(target.name, name): _reason(error, target) for name in evaluations})
            say(f"{target.name} failed: {_reason(error, target)}")
            continue
        expected["crop_proportion"] = target.crop_proportion
        expected["dataset_fingerprints"] = {s.split: s.fingerprint for s in splits}
        for protocol, evaluate in evaluations.items():
            arguments = {"metric": target.metrics[0]} if "metric" in settings_of(evaluate) else {}
            expected["settings"] = {**settings_of(evaluate), **arguments}
            expected["revision"] = revision_of(protocol)
            key = target.name, protocol
            try:
                done = _done(workdir / result_name(protocol, target.spec), expected)
                say(f"{protocol} on {target.name}{': done before' if done else ''}")
                results[key] = done or evaluate(
                    encoder_path, target.spec, workdir=workdir, **arguments, **options
                )
            except FAILURES as error:
                failures[key] = _reason(error, target)
                say(f"{protocol} on {target.name} failed: {failures[key]}")
    return results, failures


def settings_of(evaluate):
    """The own options of an evaluation and their values, as its results have them in "settings"."""
    bound = getattr(evaluate, "keywords", {})
    parameters = inspect.signature(getattr(evaluate, "func", evaluate)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    own = {name: value for name, value in defaults.items() if name not in PREPARATIONS}
    return json.loads(json.dumps({**own, **bound}))


def table(targets, results):
    """The results as Markdown: a row for each target and metric of it, in %, ± over trials."""
    protocols = list(dict.fromkeys(protocol for _, protocol in results))
    lines = [
        f"| dataset | metric | {' | '.join(protocols)} |",
        "|---|---|" + "---|" * len(protocols),
    ]
    for target in targets:
        found = [results.get((target.name, protocol)) for protocol in protocols]
        for metric in target.metrics:
            cells = [_cell(result, metric) if result else "" for result in found]
            lines.append(f"| {target.name} | {metric} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_report(workdir, targets, results):
    """Writes `transfer.md`, `transfer.json` and `transfer.png` into a folder; returns the Markdown.

    The picture has a bar for each protocol and target, of the target's first metric.
    """
    workdir = pathlib.Path(workdir)
    shown = [target for target in targets if any(name == target.name for name, _ in results)]
    one = next(iter(results.values()))
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    text = "\n".join(
        [
            f"# Transfer of {one['encoder']}",
            "",
            "On the test split, %; ± standard deviation over trials, where there are several.",
            "",
            table(shown, results),
            "",
            "## Commands",
            "",
            "```sh",
            *dict.fromkeys([*(result["command"] for result in results.values()), this_command()]),
            "```",
            "",
            versions,
            "",
        ]
    )
    values = {
        target.name: {
            protocol: [100 * value for value in _values(result, target.metrics[0])]
            for (name, protocol), result in results.items()
            if name == target.name
        }
        for target in shown
    }
    protocols = list(dict.fromkeys(protocol for _, protocol in results))
    picture = plot.figure(3 + 0.5 * len(shown) * len(protocols), 4.0)
    axis = picture.subplots()
    plot.bars_of_values(axis, values, protocols, "accuracy, %")
    axis.set_xticks(range(len(shown)), [_label(target) for target in shown], fontsize=7, wrap=True)
    plot.save(picture, workdir / "transfer.png")
    with replacing(workdir / "transfer.json") as beside:
        rows = [
            {"target": name, "protocol": protocol, "metrics": target.metrics, "result": result}
            for target in shown
            for (name, protocol), result in results.items()
            if name == target.name
        ]
        beside.write_text(json.dumps(rows, indent=1) + "\n")
    with replacing(workdir / "transfer.md") as beside:
        beside.write_text(text)
    return text


def _label(target):
    name = target.name.removeprefix("folder:").rstrip("/").rpartition("/")[-1]
    return name if target.metrics[0] == "accuracy" else f"{name}\n(per class)"


def _values(result, metric):
    """Of each trial; of evaluations that have none, the one there is."""
    return result["values"][metric] if "values" in result else [result[metric]]


def _cell(result, metric):
    spread = result.get("std", {}).get(metric)
    return f"{100 * result[metric]:.2f}" + (f" ± {100 * spread:.2f}" if spread is not None else "")


def _done(file, expected):
    """The result in a file, if it is of this encoder, these images, their preparation and so on."""
    result = cached(read_json, file) or {}
    found = {"revision": 1, **result}  # those from before it was written are of the first
    return result if all(found.get(key) == value for key, value in expected.items()) else None


def _reason(error, target):
    return f"{error} By hand: {target.by_hand}." if target.by_hand else str(error)


def main(_):
    values = flags.FLAGS
    targets = targets_of(values.datasets)
    results, failures = transfer(
        values.encoder,
        targets,
        values.protocols,
        workdir=values.workdir,
        data_dir=values.data_dir,
        image_size=values.image_size,
    )
    if results:
        workdir = result_workdir(values.encoder, values.workdir)
        write_report(workdir, targets, results)
        print(f"{table(targets, results)}\n\nAlso in {workdir}: transfer.md, transfer.png")
    if failures:
        print(f"\n{len(failures)} failed; the same command tries them again:")
        for (name, protocol), why in failures.items():
            print(f"  {protocol} on {name}: {why}")
        raise SystemExit(1)


if __name__ == "__main__":
    flags.DEFINE_string("encoder", None, "A .keras file or a pretraining workdir.", required=True)
    flags.DEFINE_list("datasets", None, "paper, names of targets, or specs.", required=True)
    flags.DEFINE_list(
        "protocols",
        "linear_probe,knn",
        f"Some of {', '.join(PROTOCOLS)}; few_shot_N and finetune_SHARE with any number.",
    )
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    flags.DEFINE_string("workdir", None, "Of results and features; by default the encoder's.")
    flags.DEFINE_integer("image_size", None, "Side of the images; by default the encoder's own.")
    binary.run(main, continues=True)
