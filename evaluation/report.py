"""Compares pretraining runs with and without style augmentation, in tables and pictures.

    python -m evaluation.report --output=report runs/simclr-*
    python -m evaluation.report --output=report --metric=ap50 runs/simclr-*

Evaluate each run first (evaluation.linear_probe, evaluation.knn, ...). Runs that differ only in
their seed, in `config.style` and in its arguments are compared with each other, seed by seed. Runs
on other images are a setting of their own, even if the path is the same. Runs with another
stylizer, or with another precision of it, are a variant of their own. The output folder gets
`report.md`, `report.json`, `accuracies.png` and `curves.png`.
"""

import collections
import json
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
from absl import app, flags

from evaluation import results
from evaluation.flags import define_import_flag
from evaluation.markdown import origin, table
from sassl_tf import plot
from sassl_tf.checked import read_json
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.paths import AnyPath, as_path
from sassl_tf.presets import load_encoder
from sassl_tf.representation.features import encoder_fingerprint
from sassl_tf.typing import PathLike
from training.command import binary
from training.configs.earlier import up_to_date
from training.engine.workdir import COMMANDS_FILE, CONFIG_FILE, ENCODER_FILE, differences
from training.report.metrics import read_metrics
from training.styles import NONE, STYLES

METRICS = (*results.METRICS, "shape_bias", *results.DENSE_METRICS)
CONFIDENCE = 0.95
# The keys of a result that must be the same for its number to be compared with another run's.
ALIKE = (
    "dataset_fingerprints",
    "image_size",
    "crop_proportion",
    "preparation",
    "settings",
    "revision",
)
# The fields of a config that may differ within one comparison: what is compared, and what has no
# influence on what is learned.
NOT_OF_THE_SETTING = (
    "seed",
    "style",
    *STYLES,
    "fingerprints",
    "data_dir",
    "augment_on",
    "log_every",
    "knn_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_checkpoint_every",
    "deterministic",
)
# The fingerprints in a config that only the style depends on; the others are of the images.
OF_STYLE = ("stylizer", "stylizer_precision", "styles")
BASELINE = "baseline"
# The variants' names in the report; all others are called by their names in the config.
NAMES = {NONE: BASELINE, "sassl": "SASSL"}


def read_run(workdir: PathLike) -> dict[str, Any]:
    """Reads the workdir of a pretraining.

    Returns:
        {"workdir", "config", "results", "metrics", "commands"}.

    Raises:
        ValueError: the folder is no workdir, it has no results yet, its results are of several
            encoders or of another one than it holds, or one of its files is damaged.
    """
    workdir = as_path(workdir)
    config_file = workdir / CONFIG_FILE
    if not config_file.is_file():
        raise UserError(f"{workdir} is no pretraining workdir: there is no {CONFIG_FILE} in it.")
    config = up_to_date(read_json(config_file))
    if "method" not in config:
        raise UserError(
            f"{workdir} is no pretraining workdir: its {CONFIG_FILE} names no method, as that of a "
            "preset that was made without a pretraining."
        )
    evaluated = results.read_results(workdir)
    if not evaluated:
        raise UserError(
            f"{workdir} has no results yet. Evaluate it first: python -m evaluation.linear_probe "
            f"--encoder={workdir} --dataset=..."
        )
    encoders = {result.get("encoder_fingerprint") for result in evaluated} - {None}
    if len(encoders) > 1:
        raise UserError(
            f"The results in {workdir} are of {len(encoders)} encoders, and a report takes one of "
            "each run. Remove the JSON files of the others (encoder_fingerprint in them tells them "
            "apart), or evaluate again."
        )
    if encoders and (workdir / ENCODER_FILE).is_file():
        _check_encoder(workdir, str(*encoders), evaluated)
    commands = workdir / COMMANDS_FILE
    return {
        "workdir": str(workdir),
        "config": config,
        "results": evaluated,
        "metrics": read_metrics(workdir),
        "commands": commands.read_text(errors="replace").splitlines() if commands.is_file() else [],
    }


def _check_encoder(workdir: AnyPath, found: str, evaluated: Sequence[dict[str, Any]]) -> None:
    """Raises a UserError if the results are of another encoder than the workdir's.

    The fingerprint has the layers' settings, to which other versions of Keras add some; so it is
    compared only with results of this version.
    """
    versions = {result.get("versions", {}).get("keras") for result in evaluated}
    if versions != {keras.__version__}:
        return
    if encoder_fingerprint(load_encoder(workdir)) != found:
        raise UserError(
            f"The results in {workdir} are not of the encoder that it holds: it was trained again "
            "since, or they are of an encoder from elsewhere, or of an earlier version of "
            "sassl_tf. Remove their JSON files and evaluate again."
        )


def settings_of(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Groups runs by their setting: {setting: its runs}.

    A setting is named by its method and by the fields in which it differs from the others.

    Args:
        runs: a list of what `read_run` returns.
    """
    groups = collections.defaultdict(list)
    for run in runs:
        setting = {k: v for k, v in run["config"].items() if k not in NOT_OF_THE_SETTING}
        prints = run["config"].get("fingerprints", {})
        setting["fingerprints"] = {k: v for k, v in prints.items() if k not in OF_STYLE}
        groups[json.dumps(setting, sort_keys=True)].append(run)
    settings = [json.loads(key) for key in groups]
    names = []
    for setting in settings:
        others = [s for s in settings if s["method"] == setting["method"] and s is not setting]
        apart = {path for other in others for path, *_ in differences(other, setting)}
        listed = [f"{path}={_at(setting, path)}" for path in sorted(apart)]
        names.append(", ".join([setting["method"], *listed]))
    return dict(zip(names, groups.values(), strict=True))


def variants_of(runs: Sequence[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Groups the runs of one setting by variant: {"baseline", "SASSL...", ...: {seed: run}}.

    A variant is named by its style, and by the fields in which it differs from the others of that
    style.

    Args:
        runs: a list of what `read_run` returns.

    Raises:
        ValueError: two runs of one variant have the same seed.
    """
    variants: dict[str, dict[int, dict[str, Any]]] = collections.defaultdict(dict)
    for run in runs:
        style, seed = run["config"]["style"], run["config"]["seed"]
        alike = [_arguments_of(other) for other in runs if other["config"]["style"] == style]
        own = _arguments_of(run)
        apart = {path for other in alike for path, *_ in differences(other, own)}
        listed = (f"{path}={_at(own, path)}" for path in sorted(apart))
        name = ", ".join([NAMES.get(style, style), *listed])
        if seed in variants[name]:
            raise UserError(
                f"{variants[name][seed]['workdir']} and {run['workdir']} are the same experiment "
                f"with the same seed, {seed}; give one of them."
            )
        variants[name][seed] = run
    return dict(variants)


def compare(runs: Sequence[dict[str, Any]], metric: str = "accuracy") -> list[dict[str, Any]]:
    """Compares runs: a row for each setting, evaluation, dataset and variant.

    Args:
        runs: a list of what `read_run` returns.
        metric: one of `METRICS`.

    Returns:
        A list of dicts: "setting", "variant", "evaluation", "dataset", "values" ({seed: percent}),
        their "mean" and sample "std" (None for one seed). A variant with a style also has its
        "difference" from the baseline, as `paired_difference` returns it.

    Raises:
        ValueError: two runs of a setting were evaluated in different ways.
    """
    rows = []
    for setting, group in settings_of(runs).items():
        _check_comparable(group)
        variants = variants_of(group)
        baseline = _values(variants.get(BASELINE, {}), metric)
        for variant in sorted(variants, key=lambda name: (name != BASELINE, name)):
            for (evaluation, dataset), values in _values(variants[variant], metric).items():
                row = _row(setting, variant, evaluation, dataset, values)
                if variant != BASELINE:
                    row["difference"] = paired_difference(
                        values, baseline.get((evaluation, dataset), {})
                    )
                rows.append(row)
    # The variants of one evaluation follow each other; the order of settings and variants stays.
    order = {row["setting"]: number for number, row in enumerate(reversed(rows))}
    return sorted(rows, key=lambda r: (-order[r["setting"]], r["evaluation"], r["dataset"]))


def _row(setting, variant, evaluation, dataset, values):
    percentages = [*values.values()]
    return {
        "setting": setting,
        "variant": variant,
        "evaluation": evaluation,
        "dataset": dataset,
        "values": values,
        "mean": float(np.mean(percentages)),
        "std": float(np.std(percentages, ddof=1)) if len(percentages) > 1 else None,
    }


def paired_difference(
    values: dict[int, float], baseline: dict[int, float]
) -> dict[str, Any] | None:
    """Computes the mean difference of two variants, seed by seed.

    Args:
        values: {seed: value}.
        baseline: {seed: value}, which is subtracted.

    Returns:
        {"mean", "low", "high", "pairs"}; low and high bound Student's confidence interval of the
        mean, and are None for fewer than two pairs. None if there is no seed in common.
    """
    changes = [values[seed] - baseline[seed] for seed in values.keys() & baseline.keys()]
    if not changes:
        return None
    mean, low, high = float(np.mean(changes)), None, None
    if len(changes) > 1:
        error = np.std(changes, ddof=1) / len(changes) ** 0.5
        reach = float(error * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(changes) - 1))
        low, high = mean - reach, mean + reach
    return {"mean": mean, "low": low, "high": high, "pairs": len(changes)}


def markdown(rows: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]], metric: str) -> str:
    """Returns the report as Markdown: a table, its meaning, the commands and the versions."""
    header = ("setting", "evaluation", "dataset", "variant", "mean ± std", "seeds", "change [95 %]")
    name = _name_of(metric)
    title = name.capitalize() if name.islower() else name
    lines = [
        f"# {title} with and without style augmentation, test split, %",
        "",
        table(header, map(_cells, rows)),
        "",
        "Std is the standard deviation of the seeds' values. Change is the mean of the differences "
        "between runs of one seed, with Student's 95 % confidence interval if there are two seeds "
        "or more. An interval that contains 0 does not tell the two variants apart.",
        "",
        origin(
            [command for run in runs for command in _commands(run)],
            [result for run in runs for result in run["results"]],
        ),
    ]
    return "\n".join(lines)


def _cells(row):
    spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
    return [
        row["setting"],
        row["evaluation"],
        row["dataset"],
        row["variant"],
        f"{row['mean']:.2f}{spread}",
        len(row["values"]),
        _change(row.get("difference")),
    ]


def write_report(workdirs: Iterable[PathLike], output: PathLike, metric: str = "accuracy") -> str:
    """Writes the report on several workdirs.

    Args:
        workdirs: the workdirs of pretrainings that have been evaluated.
        output: the folder for the report.
        metric: one of `METRICS`.

    Returns:
        The Markdown, a str.

    Raises:
        ValueError: a folder is no workdir or has no results, or two are the same experiment.
    """
    runs = _with_shared_names([read_run(workdir) for workdir in workdirs])
    rows = compare(runs, metric)
    if not rows:
        held = [m for m in METRICS if any(m in result for run in runs for result in run["results"])]
        raise UserError(
            f"None of the {len(runs)} workdirs has a result with {metric}. Give another --metric: "
            f"they have {', '.join(held) or 'none that the report knows'}."
        )
    text = markdown(rows, runs, metric)
    output = as_path(output)
    with replacing(output / "report.json") as beside:
        facts = [{k: run[k] for k in ("workdir", "config", "commands")} for run in runs]
        content = {"metric": metric, "rows": rows, "runs": facts}
        beside.write_text(json.dumps(content, indent=2) + "\n")
    plot.save(_accuracies_picture(rows, metric), output / "accuracies.png")
    plot.save(_curves_picture(runs), output / "curves.png")
    with replacing(output / "report.md") as beside:
        beside.write_text(text)
    return text


def _with_shared_names(runs):
    """Returns the runs with one name for the same images, which may be given in several ways."""
    names = {}

    def renamed(content, images):
        if not images:  # of earlier versions
            return content
        key = json.dumps(images, sort_keys=True)
        return {**content, "dataset": names.setdefault(key, content["dataset"])}

    return [
        {
            **run,
            "config": renamed(run["config"], run["config"].get("fingerprints", {}).get("listing")),
            "results": [renamed(r, r.get("dataset_fingerprints")) for r in run["results"]],
        }
        for run in runs
    ]


def _name_of(metric):
    return results.DENSE_METRICS.get(metric, metric.replace("_", " "))


def _values(by_seed, metric):
    """Returns {(evaluation, dataset): {seed: percent}} from {seed: run}."""
    values = collections.defaultdict(dict)
    for seed, run in by_seed.items():
        for result in run["results"]:
            if result.get(metric) is not None:  # not every evaluation has every metric
                values[result["evaluation"], result["dataset"]][seed] = 100 * result[metric]
    return dict(values)


def _check_comparable(runs):
    """Raises ValueError if one evaluation was done on other images or in another way."""
    first = {}
    for run in runs:
        for result in run["results"]:
            name = f"{result['evaluation']} on {result['dataset']}"
            how = {key: result.get(key, 1 if key == "revision" else None) for key in ALIKE}
            other, expected = first.setdefault(name, (run["workdir"], how))
            apart = [key for key in ALIKE if how[key] != expected[key]]
            if apart:
                raise UserError(
                    f"{name}: {other} and {run['workdir']} were evaluated with different "
                    f"{', '.join(apart)}: {expected[apart[0]]} and {how[apart[0]]}. Evaluate one "
                    "of them again, like the other."
                )


def _arguments_of(run):
    """Returns the fields that tell one variant of a style from another."""
    config = run["config"]
    prints = config.get("fingerprints", {})
    return {
        **config.get(config["style"], {}),
        "fingerprints": {name: prints[name] for name in OF_STYLE if name in prints},
    }


def _at(config, path):
    for part in path.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def _change(difference):
    if difference is None:
        return ""
    interval = ""
    if difference["low"] is not None:
        interval = f" [{difference['low']:+.2f}, {difference['high']:+.2f}]"
    return f"{difference['mean']:+.2f}{interval}"


def _commands(run):
    return [*run["commands"], *(r["command"] for r in run["results"] if "command" in r)]


def _accuracies_picture(rows, metric):
    """Draws a panel for each evaluation, with a bar for each dataset, setting and variant."""
    panels = list(dict.fromkeys(row["evaluation"] for row in rows))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    settings = {row["setting"] for row in rows}
    groups = {panel: {} for panel in panels}
    for row in rows:
        # The last folder of a path is enough to recognise it.
        label = row["dataset"].rstrip("/").rpartition("/")[-1].removeprefix("folder:")
        if len(settings) > 1:
            label += "\n" + row["setting"].replace(", ", "\n")
        group = groups[row["evaluation"]].setdefault(label, {})
        group[row["variant"]] = [*row["values"].values()]
    widest = max(len(group) for group in groups.values())
    picture = plot.figure(2.0 + 1.3 * widest, 3.0 * len(panels))
    axes = picture.subplots(len(panels), squeeze=False)
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        plot.bars_of_values(axis, groups[panel], variants, f"{_name_of(metric)}, %")
        axis.set_xlim(-0.6, widest - 0.4)  # bars of one width in all panels
        axis.tick_params(axis="x", labelsize=8)
        axis.set_title(panel.replace("_", " "), fontsize=9, loc="left")
    return picture


def _curves_picture(runs):
    """Draws the loss of every run, with a panel for each setting."""
    settings = settings_of(runs)
    picture = plot.figure(5.5, 3.0 * len(settings))
    axes = picture.subplots(len(settings), squeeze=False)[:, 0]
    for axis, (setting, group) in zip(axes, settings.items(), strict=True):
        named = {
            f"{variant}, seed {seed}": run["metrics"]
            for variant, by_seed in variants_of(group).items()
            for seed, run in by_seed.items()
        }
        plot.curves(axis, named, "loss")
        axis.set_title(setting, fontsize=9)
    return picture


def main(arguments: list[str]) -> None:
    # TensorFlow takes all memory of a GPU that it sees, and nothing is computed here.
    tf.config.set_visible_devices([], "GPU")
    workdirs = arguments[1:]
    if not workdirs:
        raise app.UsageError("Give the workdirs to compare: ... --output=report runs/*")
    print(write_report(workdirs, flags.FLAGS.output, flags.FLAGS.metric))
    print(f"Wrote report.md, report.json, accuracies.png and curves.png in {flags.FLAGS.output}.")


if __name__ == "__main__":
    flags.DEFINE_string("output", "report", "The folder for the report.")
    flags.DEFINE_enum("metric", "accuracy", METRICS, "The metric that is compared.")
    define_import_flag()
    binary.run(main, positional=True)
