"""Compares pretraining runs, with and without SASSL side by side: tables, pictures, commands.

    python -m evaluation.report --output=report runs/simclr-*

Evaluate each run first (evaluation.linear_probe, evaluation.knn, ...). Runs that differ in nothing
but their seed and `config.sassl` are set against each other, seed by seed. Runs of other images are
a setting of their own, even under one path, and runs with another stylizer, or another precision of
it, a variant of their own. Writes `report.md`, `report.json`, `accuracies.png` and `curves.png`
into the output folder.
"""

import collections
import json
import pathlib

import numpy as np
import scipy.stats
from absl import app, flags

from evaluation.encoders import CONFIG_FILE
from sassl_tf import plot
from sassl_tf.checked import read_json
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from training.command import binary
from training.engine.workdir import COMMANDS_FILE, differences
from training.report.metrics import read_metrics

METRICS = ("accuracy", "mean_per_class_accuracy", "quadratic_kappa", "shape_bias")
CONFIDENCE = 0.95
# Of a result: what must be the same for its number to be compared with another run's.
ALIKE = (
    *("dataset_fingerprints", "image_size", "crop_proportion", "preparation"),
    *("settings", "revision"),
)
# Of a config: what tells apart the runs of one comparison, or has no influence on what is learned.
NOT_OF_THE_SETTING = (
    *("seed", "sassl", "fingerprints", "data_dir", "log_every", "knn_every", "checkpoint_every"),
    *("keep_checkpoints", "keep_checkpoint_every", "deterministic"),
)
# Of the fingerprints in a config: those of what SASSL alone uses; the others are of the images.
OF_SASSL = ("stylizer", "stylizer_precision", "styles")


def read_run(workdir):
    """{"workdir", "config", "results", "metrics", "commands"} of a pretraining's workdir.

    Raises:
        ValueError: the folder is no workdir, nothing has been evaluated in it, or a file of it is
            damaged.
    """
    workdir = pathlib.Path(workdir)
    config_file = workdir / CONFIG_FILE
    if not config_file.is_file():
        raise UserError(f"{workdir} is no pretraining workdir: there is no {CONFIG_FILE} in it.")
    results = []
    for file in sorted(workdir.glob("[!.]*-*.json")):  # a hidden one was being written
        content = read_json(file)
        if "evaluation" in content:
            results.append(content)
    if not results:
        raise UserError(
            f"{workdir} has no results yet. Evaluate it first: python -m evaluation.linear_probe "
            f"--encoder={workdir} --dataset=..."
        )
    commands = workdir / COMMANDS_FILE
    return {
        "workdir": str(workdir),
        "config": read_json(config_file),
        "results": results,
        "metrics": read_metrics(workdir),
        "commands": commands.read_text(errors="replace").splitlines() if commands.is_file() else [],
    }


def settings_of(runs):
    """{setting: its runs}; a setting is named by its method, and by what sets it apart."""
    groups = collections.defaultdict(list)
    for run in runs:
        setting = {k: v for k, v in run["config"].items() if k not in NOT_OF_THE_SETTING}
        prints = run["config"].get("fingerprints", {})
        setting["fingerprints"] = {k: v for k, v in prints.items() if k not in OF_SASSL}
        groups[json.dumps(setting, sort_keys=True)].append(run)
    settings = [json.loads(key) for key in groups]
    names = []
    for setting in settings:
        others = [s for s in settings if s["method"] == setting["method"] and s is not setting]
        apart = {path for other in others for path, *_ in differences(other, setting)}
        listed = [f"{path}={_at(setting, path)}" for path in sorted(apart)]
        names.append(", ".join([setting["method"], *listed]))
    return dict(zip(names, groups.values(), strict=True))


def variants_of(runs):
    """{"baseline" or "SASSL...": {seed: run}} of the runs of one setting.

    Raises:
        ValueError: two runs of one variant have the same seed.
    """
    switched_on = [_sassl_of(run) for run in runs if run["config"]["sassl"]["enabled"]]
    variants = collections.defaultdict(dict)
    for run in runs:
        sassl, seed = _sassl_of(run), run["config"]["seed"]
        name = "baseline"
        if sassl["enabled"]:
            apart = {path for other in switched_on for path, *_ in differences(other, sassl)}
            name = ", ".join(["SASSL", *(f"{path}={_at(sassl, path)}" for path in sorted(apart))])
        if seed in variants[name]:
            raise UserError(
                f"{variants[name][seed]['workdir']} and {run['workdir']} are the same experiment "
                f"with the same seed, {seed}; give one of them."
            )
        variants[name][seed] = run
    return dict(variants)


def compare(runs, metric="accuracy"):
    """A row for each setting, evaluation, dataset and variant.

    Args:
        runs: of `read_run`.
        metric: one of `METRICS`.

    Returns:
        A list of dicts: "setting", "variant", "evaluation", "dataset", "values" ({seed: percent}),
        their "mean" and sample "std" (None for one seed), and, for a variant with SASSL,
        "difference" from the baseline: "mean", "low" and "high" of the confidence interval of
        paired differences (Student's t; None for fewer than two pairs), and "pairs".

    Raises:
        ValueError: two runs of a setting were evaluated in different ways.
    """
    rows = []
    for setting, group in settings_of(runs).items():
        _check_comparable(group)
        variants = variants_of(group)
        baseline = _values(variants.get("baseline", {}), metric)
        for variant in sorted(variants, key=lambda name: (name != "baseline", name)):
            for (evaluation, dataset), values in _values(variants[variant], metric).items():
                row = {
                    "setting": setting,
                    "variant": variant,
                    "evaluation": evaluation,
                    "dataset": dataset,
                    "values": values,
                    "mean": float(np.mean([*values.values()])),
                    "std": float(np.std([*values.values()], ddof=1)) if len(values) > 1 else None,
                }
                if variant != "baseline":
                    other = baseline.get((evaluation, dataset), {})
                    row["difference"] = paired_difference(values, other)
                rows.append(row)
    # Variants of one evaluation side by side; the order of settings and of variants stays.
    order = {row["setting"]: number for number, row in enumerate(reversed(rows))}
    return sorted(rows, key=lambda r: (-order[r["setting"]], r["evaluation"], r["dataset"]))


def paired_difference(values, baseline):
    """{"mean", "low", "high", "pairs"} of values - baseline, both {seed: value}.

    None where they have no seed in common.
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


def markdown(rows, runs, metric):
    """The report as Markdown: a table, what it means, and how to get it again."""
    lines = [
        f"# {metric.replace('_', ' ').capitalize()} with and without SASSL, test split, %",
        "",
        "| setting | evaluation | dataset | variant | mean ± std | seeds | change [95 %] |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
        cells = [
            *(row["setting"], row["evaluation"], row["dataset"], row["variant"]),
            f"{row['mean']:.2f}{spread}",
            str(len(row["values"])),
            _change(row.get("difference")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Std: of the seeds' values. Change: the mean of the differences between runs of one seed, "
        "with Student's 95 % confidence interval, where there are two or more; one that holds 0 "
        "does not tell the two apart.",
        "",
        "## Commands",
        "",
        "```sh",
        *dict.fromkeys(command for run in runs for command in _commands(run)),
        "```",
        "",
        "## Versions",
        "",
        *dict.fromkeys(
            ", ".join(f"{name} {version}" for name, version in result["versions"].items())
            for run in runs
            for result in run["results"]
        ),
        "",
    ]
    return "\n".join(lines)


def write_report(workdirs, output, metric="accuracy"):
    """Writes the report of several workdirs into a folder; returns its Markdown.

    Raises:
        ValueError: a folder is no workdir, has no results, or is twice the same experiment.
    """
    runs = [read_run(workdir) for workdir in workdirs]
    rows = compare(runs, metric)
    if not rows:
        raise UserError(f"None of the {len(runs)} workdirs has a result with {metric}.")
    text = markdown(rows, runs, metric)
    output = pathlib.Path(output)
    with replacing(output / "report.json") as beside:
        facts = [{k: run[k] for k in ("workdir", "config", "commands")} for run in runs]
        content = {"metric": metric, "rows": rows, "runs": facts}
        beside.write_text(json.dumps(content, indent=2) + "\n")
    plot.save(_accuracies_picture(rows, metric), output / "accuracies.png")
    plot.save(_curves_picture(runs), output / "curves.png")
    with replacing(output / "report.md") as beside:
        beside.write_text(text)
    return text


def _values(by_seed, metric):
    """{(evaluation, dataset): {seed: percent}} of {seed: run}."""
    found = collections.defaultdict(dict)
    for seed, run in by_seed.items():
        for result in run["results"]:
            if result.get(metric) is not None:  # not every evaluation has every metric
                found[result["evaluation"], result["dataset"]][seed] = 100 * result[metric]
    return dict(found)


def _check_comparable(runs):
    """The same evaluation on the same images, prepared alike, is what a difference is of."""
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


def _sassl_of(run):
    """What tells one variant with SASSL from another."""
    prints = run["config"].get("fingerprints", {})
    return {
        **run["config"]["sassl"],
        "fingerprints": {name: prints[name] for name in OF_SASSL if name in prints},
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
    """A panel for each evaluation; for each dataset and setting a bar for each variant."""
    panels = list(dict.fromkeys(row["evaluation"] for row in rows))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    settings = {row["setting"] for row in rows}
    groups = {panel: {} for panel in panels}
    for row in rows:
        # A path is known by its last folder.
        label = row["dataset"].rstrip("/").rpartition("/")[-1].removeprefix("folder:")
        if len(settings) > 1:
            label += "\n" + row["setting"].replace(", ", "\n")
        group = groups[row["evaluation"]].setdefault(label, {})
        group[row["variant"]] = [*row["values"].values()]
    widest = max(len(group) for group in groups.values())
    made = plot.figure(2.0 + 1.3 * widest, 3.0 * len(panels))
    for axis, panel in zip(made.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        plot.bars_of_values(axis, groups[panel], variants, f"{metric.replace('_', ' ')}, %")
        axis.set_xlim(-0.6, widest - 0.4)  # bars of one width in all panels
        axis.tick_params(axis="x", labelsize=8)
        axis.set_title(panel.replace("_", " "), fontsize=9, loc="left")
    return made


def _curves_picture(runs):
    """The loss of every run, a panel for each setting."""
    settings = settings_of(runs)
    made = plot.figure(5.5, 3.0 * len(settings))
    axes = made.subplots(len(settings), squeeze=False)[:, 0]
    for axis, (setting, group) in zip(axes, settings.items(), strict=True):
        named = {
            f"{variant}, seed {seed}": run["metrics"]
            for variant, by_seed in variants_of(group).items()
            for seed, run in by_seed.items()
        }
        plot.curves(axis, named, "loss")
        axis.set_title(setting, fontsize=9)
    return made


def main(arguments):
    workdirs = arguments[1:]
    if not workdirs:
        raise app.UsageError("Give the workdirs to compare: ... --output=report runs/*")
    print(write_report(workdirs, flags.FLAGS.output, flags.FLAGS.metric))
    print(f"Wrote report.md, report.json, accuracies.png and curves.png in {flags.FLAGS.output}.")


if __name__ == "__main__":
    flags.DEFINE_string("output", "report", "Folder of the report.")
    flags.DEFINE_enum("metric", "accuracy", METRICS, "What is compared.")
    binary.run(main, positional=True)
