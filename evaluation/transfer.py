"""Evaluates an encoder on a list of datasets by several protocols; continues after a break.

    python -m evaluation.transfer --encoder=runs/simclr --datasets=folder:pets,folder:textures
    python -m evaluation.transfer --encoder=runs/simclr --datasets=paper --data_dir=DIR
    python -m evaluation.transfer --encoder=runs/simclr --datasets=dtd,inat21=folder:inat

`--datasets=paper` is the eleven targets of arXiv 2312.01187; `evaluation.targets` has the name of
each in TFDS, its metrics (top-1 accuracy, or the mean over the classes where the field uses it) and
its preprocessing. NAME=SPEC takes the images from elsewhere, for instance from class folders.

A finished evaluation is not done again, as long as encoder, images, preprocessing and settings are
the same. A dataset that fails is told at the end, and the others go on. Each result is a JSON file
in the workdir, for evaluation.report; all of them together are in `transfer.md`, `transfer.json`
and `transfer.png`.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
from absl import flags

from evaluation import few_shot, finetune, knn, linear_probe, markdown, sgd_probe
from evaluation.encoders import default_image_size, load_encoder
from evaluation.flags import define_encoder_flags, define_result_flags
from evaluation.results import earlier_result
from evaluation.settings import EvaluationSettings
from evaluation.subject import EXTRACT_BATCH_SIZE, Subject, load_subject, result_workdir
from evaluation.targets import Target, targets_of
from sassl_tf import plot
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.nearest import nearest
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike
from training.command import binary
from training.engine.workdir import this_command
from training.report.logs import say

# By target and protocol: the content of the results file, and why there is none.
Results: TypeAlias = dict[tuple[str, str], dict[str, Any]]
Failures: TypeAlias = dict[tuple[str, str], str]

PROTOCOLS = (
    "linear_probe",
    "sgd_probe",
    "knn",
    "few_shot_1",
    "few_shot_10",
    "finetune",
    "finetune_0.1",
    "finetune_0.01",
)
# Errors that tell of data, files, memory or input. All others are mistakes in the code and go up.
DATA_ERRORS = (
    UserError,
    OSError,
    MemoryError,
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.ResourceExhaustedError,
)


def protocol_of(name: str) -> tuple[Callable[..., dict[str, Any]], EvaluationSettings]:
    """Returns the protocol of a name: its `run(subject, settings)` and its settings.

    Args:
        name: one of `PROTOCOLS`; few_shot_N and finetune_SHARE with any number.

    Raises:
        ValueError: an unknown protocol.
    """
    for module in (linear_probe, sgd_probe, knn, finetune):
        if name == module.Settings.name:
            return module.run, module.Settings()
    kind, _, number = name.rpartition("_")
    if kind == few_shot.Settings.name and number.isdigit():
        return few_shot.run, few_shot.Settings(shots=int(number))
    if kind == finetune.Settings.name and _is_share(number):
        return finetune.run, finetune.Settings(label_share=float(number))
    raise UserError(
        f"There is no protocol {name!r}.{nearest(name, PROTOCOLS)} There are "
        f"{', '.join(PROTOCOLS)}, and others like the numbered ones: few_shot_5, finetune_0.05."
    )


def _is_share(text):
    try:
        return 0 < float(text) < 1 and f"{float(text):g}" == text  # as results files are named
    except ValueError:
        return False


def transfer(
    encoder_path: PathLike,
    targets: Sequence[Target],
    protocols: Sequence[str],
    workdir: PathLike | None = None,
    data_dir: PathLike | None = None,
    image_size: int | None = None,
    extract_batch_size: int = EXTRACT_BATCH_SIZE,
) -> tuple[Results, Failures]:
    """Evaluates an encoder on all targets by all protocols, except for what is done already.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        targets: a list of `Target`.
        protocols: names for `protocol_of`.
        workdir: the folder for results and features; by default the encoder's own workdir.
        data_dir: the folder of prepared TFDS datasets.
        image_size: the side of the images; by default the side that the encoder was made for.
        extract_batch_size: how many images the encoder sees at a time.

    Returns:
        ({(target's name, protocol): result}, {(target's name, protocol): why it failed}).

    Raises:
        ValueError: an unknown protocol, or no such encoder.
    """
    chosen = {name: protocol_of(name) for name in protocols}
    workdir = result_workdir(encoder_path, workdir)
    encoder = load_encoder(encoder_path)
    shared = {
        "data_dir": data_dir,
        "workdir": workdir,
        "image_size": image_size or default_image_size(encoder_path, encoder),
        "extract_batch_size": extract_batch_size,
        "encoder": encoder,
    }
    results, failures = {}, {}
    for target in targets:
        done, failed = _evaluate_target(encoder_path, target, chosen, shared)
        results.update({(target.name, protocol): result for protocol, result in done.items()})
        failures.update({(target.name, protocol): why for protocol, why in failed.items()})
    return results, failures


def _evaluate_target(encoder_path, target, protocols, shared):
    """Returns {protocol: result} and {protocol: why it failed} of one target."""
    try:
        subject = load_target(encoder_path, target, shared)
    except DATA_ERRORS as error:
        say(f"{target.name} failed: {error}")
        return {}, dict.fromkeys(protocols, str(error))
    results, failures = {}, {}
    for name, (run, settings) in protocols.items():
        try:
            results[name] = _evaluate_once(name, run, subject, settings, target)
        except DATA_ERRORS as error:
            failures[name] = str(error)
            say(f"{name} on {target.name} failed: {failures[name]}")
    return results, failures


def load_target(encoder_path: PathLike, target: Target, shared: Mapping[str, Any]) -> Subject:
    """Loads an encoder on the images of a target.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        target: the target.
        shared: the other arguments of `load_subject`.

    Raises:
        UserError: the images or the encoder are missing.
    """
    with saying_by_hand(target):
        if not target.spec:
            raise UserError(f"There are no images of {target.name}.")
        return load_subject(
            encoder_path, target.spec, crop_proportion=target.crop_proportion, **shared
        )


@contextlib.contextmanager
def saying_by_hand(target: Target) -> Iterator[None]:
    """Adds to an error of loading a target's images what a person has to do first, if anything."""
    try:
        yield
    except DATA_ERRORS as error:
        if not target.by_hand:
            raise
        raise UserError(f"{error} By hand: {target.by_hand}.") from error


def _evaluate_once(name, run, subject, settings, target):
    """Returns the earlier result of an evaluation if there is one, else runs it."""
    if hasattr(settings, "metric"):
        settings = dataclasses.replace(settings, metric=target.metrics[0])
    earlier = earlier_result(subject, settings)
    say(f"{name} on {target.name}{': done before' if earlier else ''}")
    return earlier or run(subject, settings)


def table(targets: Sequence[Target], results: Results) -> str:
    """Returns the results as Markdown: a row for each target and metric, in %, ± over trials."""
    protocols = list(dict.fromkeys(protocol for _, protocol in results))
    rows = [
        [
            target.name,
            metric,
            *(_cell(results.get((target.name, protocol)), metric) for protocol in protocols),
        ]
        for target in targets
        for metric in target.metrics
    ]
    return markdown.table(["dataset", "metric", *protocols], rows)


def _cell(result, metric):
    if result is None:
        return ""
    spread = result.get("std", {}).get(metric)
    return f"{100 * result[metric]:.2f}" + (f" ± {100 * spread:.2f}" if spread is not None else "")


def write_report(workdir: PathLike, targets: Sequence[Target], results: Results) -> str:
    """Writes `transfer.md`, `transfer.json` and `transfer.png` into a folder.

    The picture has a bar for each protocol and target, with the target's first metric.

    Returns:
        The Markdown.
    """
    workdir = as_path(workdir)
    shown = [target for target in targets if any(name == target.name for name, _ in results)]
    text = _markdown(shown, results)
    plot.save(_picture(shown, results), workdir / "transfer.png")
    with replacing(workdir / "transfer.json") as beside:
        rows = [
            {"target": target.name, "protocol": protocol, "metrics": target.metrics, "result": one}
            for target in shown
            for protocol, one in _results_of(target, results).items()
        ]
        beside.write_text(json.dumps(rows, indent=1) + "\n")
    with replacing(workdir / "transfer.md") as beside:
        beside.write_text(text)
    return text


def _results_of(target, results):
    return {protocol: one for (name, protocol), one in results.items() if name == target.name}


def _markdown(targets, results):
    commands = [*(result["command"] for result in results.values()), this_command()]
    lines = [
        f"# Transfer of {next(iter(results.values()))['encoder']}",
        "",
        "On the test split, %; ± standard deviation over trials, where there are several.",
        "",
        table(targets, results),
        "",
        markdown.origin(commands, results.values()),
    ]
    return "\n".join(lines)


def _picture(targets, results):
    protocols = list(dict.fromkeys(protocol for _, protocol in results))
    values = {
        target.name: {
            protocol: [100 * value for value in _trial_values(result, target.metrics[0])]
            for protocol, result in _results_of(target, results).items()
        }
        for target in targets
    }
    picture = plot.figure(3 + 0.5 * len(targets) * len(protocols), 4.0)
    axis = picture.subplots()
    plot.bars_of_values(axis, values, protocols, "accuracy, %")
    labels = [_label(target) for target in targets]
    axis.set_xticks(range(len(targets)), labels, fontsize=7, wrap=True)
    return picture


def _label(target):
    name = target.name.removeprefix("folder:").rstrip("/").rpartition("/")[-1]
    return name if target.metrics[0] == "accuracy" else f"{name}\n(per class)"


def _trial_values(result, metric):
    """Returns the values of all trials; the one value of an evaluation without trials."""
    return result["values"][metric] if "values" in result else [result[metric]]


def main(_: list[str]) -> None:
    values = flags.FLAGS
    targets = targets_of(values.datasets)
    results, failures = transfer(
        values.encoder,
        targets,
        values.protocols,
        workdir=values.workdir,
        data_dir=values.data_dir,
        image_size=values.image_size,
        extract_batch_size=values.extract_batch_size,
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
    define_encoder_flags()
    define_result_flags()
    flags.DEFINE_list(
        "datasets",
        None,
        "What to evaluate on: paper, names of targets, or specs, with commas.",
        required=True,
    )
    flags.DEFINE_alias("dataset", "datasets")  # as the commands of one dataset call it
    flags.DEFINE_list(
        "protocols",
        "linear_probe,knn",
        f"Some of {', '.join(PROTOCOLS)}, with commas; few_shot_N and finetune_SHARE with any "
        "number.",
    )
    binary.run(main, continues=True)
