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

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from absl import flags

from evaluation import markdown
from evaluation.evaluations import OTHERS, PROTOCOLS, make_evaluation, outcomes, protocol_of
from evaluation.flags import define_encoder_flags, define_result_flags
from evaluation.subject import result_workdir
from evaluation.targets import Target, targets_of
from sassl_tf import plot
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike
from training.command import binary
from training.engine.workdir import this_command

# By target and protocol: the content of the results file, and why there is none.
Results: TypeAlias = dict[tuple[str, str], dict[str, Any]]
Failures: TypeAlias = dict[tuple[str, str], str]


def transfer(
    encoder_path: PathLike, targets: Sequence[Target], protocols: Sequence[str], **options: Any
) -> tuple[Results, Failures]:
    """Evaluates an encoder on all targets by all protocols, except for what is done already.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        targets: a list of `Target`.
        protocols: some of `PROTOCOLS`; few_shot_N and finetune_SHARE with any number.
        **options: the other arguments of `evaluation.evaluations.outcomes`.

    Returns:
        ({(target's name, protocol): result}, {(target's name, protocol): why it failed}).

    Raises:
        ValueError: an unknown protocol, or no such encoder.
    """
    for name in protocols:
        if name in OTHERS:
            raise UserError(
                f"{name} has a metric of its own, which this table does not show; run it by "
                f"python -m evaluation.{name}, or by evaluation.evaluate."
            )
        protocol_of(name, PROTOCOLS)
    evaluations = [
        make_evaluation(f"{protocol} on {target.name}", protocol, target)
        for target in targets
        for protocol in protocols
    ]
    results: Results = {}
    failures: Failures = {}
    for one, result, failure in outcomes(encoder_path, evaluations, **options):
        key = one.target.name, one.protocol
        if result is None:
            failures[key] = failure
        else:
            results[key] = result
    return results, failures


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
        f"The protocols, with commas: {', '.join(PROTOCOLS)}; few_shot_N and finetune_SHARE with "
        "any number.",
    )
    binary.run(main, continues=True)
