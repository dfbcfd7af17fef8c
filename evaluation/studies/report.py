"""The report of a study: differences to the baseline, paired by seed, with their intervals."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evaluation import markdown
from evaluation.folders import without_folders
from evaluation.report import CONFIDENCE, paired_difference
from evaluation.studies.plan import ROOT, Plan
from evaluation.studies.processes import as_flag
from evaluation.studies.records import measures, others, record_of, valid_results, versions_of
from sassl_tf import plot
from sassl_tf.files import replacing

REPORT = "report"  # .md, .json and .png
GAIN, LOSS = "**gain**", "**loss**"  # intervals above 0 and below
# Fewer pairs have an interval, but nothing is concluded from it: two accuracies on few images can
# differ by the same amount twice, and then the interval is a point.
LEAST_PAIRS = 3


def rows_of(plan: Plan, results: pathlib.Path) -> list[dict[str, Any]]:
    """Returns a row for each evaluation, metric and arm that has a value.

    Returns:
        A list of dicts: "evaluation", "metric" (that of the evaluation, or one of its details),
        "arm", "values" ({seed: percent}), their "mean" and sample "std" (None for one seed), and
        "difference" from the baseline, as `evaluation.report.paired_difference` returns it (None
        for the baseline itself).
    """
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for run in plan.runs:
        _, record = record_of(run, plan, results)
        for name, result in valid_results(record, plan).items():
            for metric, value in measures(plan.evaluation(name), result).items():
                values.setdefault((name, metric, run.arm), {})[run.seed] = 100 * value
    names = [evaluation.name for evaluation in plan.evaluations]
    measured = sorted(dict.fromkeys(key[:2] for key in values), key=lambda key: names.index(key[0]))
    rows = []
    for name, metric in measured:
        baseline = values.get((name, metric, plan.baseline), {})
        for arm in plan.arms:
            found = values.get((name, metric, arm))
            if found:
                numbers = [*found.values()]
                rows.append(
                    {
                        "evaluation": name,
                        "metric": metric,
                        "arm": arm,
                        "values": found,
                        "mean": float(np.mean(numbers)),
                        "std": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
                        "difference": None
                        if arm == plan.baseline
                        else paired_difference(found, baseline),
                    }
                )
    return rows


def verdict(difference: Mapping[str, Any] | None) -> str:
    """Returns what a difference shows: `GAIN`, `LOSS`, or "" where it is not told from 0."""
    if difference is None or difference["pairs"] < LEAST_PAIRS:
        return ""
    return GAIN if difference["low"] > 0 else LOSS if difference["high"] < 0 else ""


def write_report(
    plan: Plan,
    workdir: pathlib.Path,
    results: pathlib.Path,
    failures: Mapping[str, Mapping[str, Any]],
    commands: Sequence[str] = (),
) -> str:
    """Writes `report.md`, `report.json` and `report.png` into the study's folder.

    Args:
        plan: the study.
        workdir: its folder.
        results: the folder of its records.
        failures: {name of a run: {"stage", "reason"}}.
        commands: those that repeat the study.

    Returns:
        The Markdown.
    """
    rows = rows_of(plan, results)
    records = [record_of(run, plan, results)[1] for run in plan.runs]
    records = [record for record in records if record]
    text = _markdown(plan, rows, records, failures, others(plan, results), commands)
    content = {
        "baseline": plan.baseline,
        "arms": _changes_of_arms(plan)[1],
        "seeds": list(plan.seeds),
        "rows": rows,
        "failures": failures,
        "not_part": others(plan, results),
    }
    with replacing(workdir / f"{REPORT}.json") as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")
    if rows:
        plot.save(draw(plan, rows), workdir / f"{REPORT}.png")
    with replacing(workdir / f"{REPORT}.md") as beside:
        beside.write_text(text)
    return text


def draw(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws a panel for each evaluation with every arm's difference.

    Differences of `LEAST_PAIRS` pairs or more have their interval.
    """
    panels: dict[str, dict[str, tuple[float, float | None, float | None]]] = {}
    for row in _main(plan, rows):
        panel, change = panels.setdefault(row["evaluation"], {}), row["difference"]
        if change is not None:
            enough = change["pairs"] >= LEAST_PAIRS
            interval = (change["low"], change["high"]) if enough else (None, None)
            panel[row["arm"]] = change["mean"], *interval
    panels = {name: panel for name, panel in panels.items() if panel} or {"no pair yet": {}}
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    picture = plot.figure(4.2 * columns, lines * (0.9 + 0.3 * len(plan.arms)))
    axes = picture.subplots(lines, columns, squeeze=False).ravel()
    for axis, (name, panel) in zip(axes, panels.items(), strict=False):
        plot.differences(axis, panel, f"points, against {plan.baseline}")
        axis.set_title(name, fontsize=9, loc="left")
    for axis in axes[len(panels) :]:
        axis.remove()
    return picture


def _markdown(
    plan: Plan,
    rows: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
    failures: Mapping[str, Mapping[str, Any]],
    not_part: Sequence[str],
    commands: Sequence[str],
) -> str:
    done = sum(len(valid_results(record, plan)) == len(plan.evaluations) for record in records)
    lines = [
        f"# Differences to {plan.baseline}",
        "",
        f"{done} of {len(plan.runs)} runs are done: {len(plan.arms)} arms, seeds "
        f"{', '.join(map(str, plan.seeds))}. "
        + ("" if done == len(plan.runs) else "**All that follows is preliminary.** ")
        + "Values are in %, changes in points. Std is the standard deviation over an arm's seeds. "
        "Change is the mean of the differences between runs of one seed, with Student's "
        f"{CONFIDENCE:.0%} confidence interval. Where it excludes 0, it is called a gain or a "
        "loss. Where it does not, no direction is claimed, and effects outside of the interval are "
        f"ruled out at {CONFIDENCE:.0%}. Fewer than {LEAST_PAIRS} pairs are not judged.",
        *_compared(plan),
        *_overview(plan, rows),
        *_told_apart(plan, rows),
    ]
    for evaluation in plan.evaluations:
        own = [row for row in rows if row["evaluation"] == evaluation.name]
        main = [row for row in own if row["metric"] == evaluation.metric]
        if main:
            line = _short(evaluation.line.partition("=")[2])
            about = f"`{line}`: {evaluation.metric.replace('_', ' ')}."
            constant = plan.data[evaluation.name].constant
            if constant is not None:
                about += f" Always predicting the largest class has {100 * constant:.1f} %."
            lines += ["", f"## {evaluation.name}", "", about, "", _table(main)]
            lines += _details(plan, [row for row in own if row["metric"] != evaluation.metric])
    lines += _failures(failures)
    if not_part:
        listed = ", ".join(not_part)
        lines += ["", "## Not part of the study", "", f"Kept, and not counted: {listed}."]
    versions = [part for record in records for part in versions_of(record)]
    return "\n".join([*lines, "", markdown.origin(commands, versions)])


def _changes_of_arms(plan: Plan) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the changes of the config that all arms share, and {arm: its own}."""
    arms = {run.arm: run.changes for run in reversed(plan.runs)}
    shared = {
        name: value
        for name, value in arms[plan.baseline].items()
        if all(name in own and own[name] == value for own in arms.values())
    }
    own = {
        arm: {name: value for name, value in arms[arm].items() if name not in shared}
        for arm in plan.arms
    }
    return without_folders(shared), without_folders(own)


def _compared(plan: Plan) -> list[str]:
    """Returns the section that says what the arms are."""
    shared, arms = _changes_of_arms(plan)
    file = plan.runs[0].config_file.removeprefix(f"{ROOT}/")
    common = f" with {_listed(shared)}" if shared else ""
    rows = [[arm, _listed(changes)] for arm, changes in arms.items()]
    return ["", "## Arms", "", f"`{file}`{common}.", "", markdown.table(["arm", "changes"], rows)]


def _listed(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={as_flag(value)}`" for name, value in changes.items())


def _main(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the rows of the evaluations' own metrics, without the details."""
    metrics = {(evaluation.name, evaluation.metric) for evaluation in plan.evaluations}
    return [row for row in rows if (row["evaluation"], row["metric"]) in metrics]


def _told_apart(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the section of the differences whose intervals exclude 0, the largest first."""
    judged = [
        row
        for row in _main(plan, rows)
        if row["difference"] and row["difference"]["pairs"] >= LEAST_PAIRS
    ]
    found = [row for row in judged if verdict(row["difference"])]
    found.sort(key=lambda row: -row["difference"]["mean"])
    lines = ["", f"## Told from {plan.baseline}", ""]
    if not judged:
        return [*lines, f"No arm has {LEAST_PAIRS} pairs yet."]
    chance = (1 - CONFIDENCE) * len(judged)
    lines.append(
        f"If no arm had an effect, about {chance:.1f} of these {len(judged)} intervals would "
        f"exclude 0 by chance; {len(found)} {'does' if len(found) == 1 else 'do'}."
    )
    cells = [
        [row["evaluation"], row["arm"], _change(row["difference"]), row["difference"]["pairs"]]
        for row in found
    ]
    header = ["evaluation", "arm", f"change [{CONFIDENCE:.0%}]", "pairs"]
    return [*lines, "", markdown.table(header, cells)] if found else lines


def _overview(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the section with a row of changes for each evaluation."""
    if not rows:
        return []
    text = "Mean changes, in points. Bold: the interval excludes 0."
    table = _table_of_changes(plan, _main(plan, rows), "evaluation")
    return ["", "## All changes", "", text, "", table]


def _details(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of what an evaluation measures beside its metric."""
    if not rows:
        return []
    return [
        "",
        "Mean changes of what it also measures, in points:",
        "",
        _table_of_changes(plan, rows, "metric"),
    ]


def _table_of_changes(plan: Plan, rows: Sequence[Mapping[str, Any]], by: str) -> str:
    """Returns a table of mean changes, a row for each `row[by]` and a column for each arm."""
    arms = [arm for arm in plan.arms if arm != plan.baseline]
    changes = {(row[by], row["arm"]): row["difference"] for row in rows}

    def cell(name: str, arm: str) -> str:
        change = changes.get((name, arm))
        if change is None:
            return ""
        mark = "**" if verdict(change) else ""
        return f"{mark}{change['mean']:+.2f}{mark}"

    names = dict.fromkeys(row[by] for row in rows)
    cells = [[name, *(cell(name, arm) for arm in arms)] for name in names]
    return markdown.table(["", *arms], cells)


def _change(difference: Mapping[str, Any]) -> str:
    mean, low, high = difference["mean"], difference["low"], difference["high"]
    return f"{mean:+.2f}" + ("" if low is None else f" [{low:+.2f}, {high:+.2f}]")


def _short(line: str) -> str:
    """Returns the line of an evaluation without the folders above its images."""
    parts = [word.rpartition("=") for word in line.split(" ")]
    return " ".join(f"{name}{equals}{without_folders(value)}" for name, equals, value in parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
        change = row["difference"]
        shown = ("", "") if change is None else (_change(change), change["pairs"])
        mean = f"{row['mean']:.2f}{spread}"
        cells.append([row["arm"], mean, len(row["values"]), *shown, verdict(change)])
    header = ["arm", "mean ± std", "seeds", f"change [{CONFIDENCE:.0%}]", "pairs", ""]
    return markdown.table(header, cells)


def _failures(failures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not failures:
        return []
    lines = ["", "## Failed", "", "The same command tries these again.", ""]
    return lines + [f"- {name}, {f['stage']}: {f['reason']}" for name, f in failures.items()]
