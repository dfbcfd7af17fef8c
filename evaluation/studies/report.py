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
from evaluation.studies.plan import Plan
from evaluation.studies.records import others, record_of, valid_results
from sassl_tf import plot
from sassl_tf.files import replacing

REPORT = "report"  # .md, .json and .png
GAIN, LOSS = "**gain**", "**loss**"  # intervals above 0 and below


def rows_of(plan: Plan, results: pathlib.Path) -> list[dict[str, Any]]:
    """Returns a row for each evaluation and arm that has a value.

    Returns:
        A list of dicts: "evaluation", "metric", "arm", "values" ({seed: percent}), their "mean" and
        sample "std" (None for one seed), and "difference" from the baseline, as
        `evaluation.report.paired_difference` returns it (None for the baseline itself).
    """
    values: dict[tuple[str, str], dict[int, float]] = {}
    for run in plan.runs:
        _, record = record_of(run, plan, results)
        for name, result in valid_results(record, plan).items():
            value = result.get(result["metric"])
            if value is not None:
                values.setdefault((name, run.arm), {})[run.seed] = 100 * value
    rows = []
    for evaluation in plan.evaluations:
        baseline = values.get((evaluation.name, plan.baseline), {})
        for arm in plan.arms:
            found = values.get((evaluation.name, arm))
            if found:
                numbers = [*found.values()]
                rows.append(
                    {
                        "evaluation": evaluation.name,
                        "metric": evaluation.metric,
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
    """Returns a difference in words: told from 0, or the effects that are ruled out."""
    if difference is None:
        return ""
    low, high = difference["low"], difference["high"]
    if low is None:
        return "one pair: no interval"
    if low > 0:
        return GAIN
    if high < 0:
        return LOSS
    return f"not told from 0; rules out more than {high:+.1f} and less than {low:+.1f}"


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
        "arms": list(plan.arms),
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
    """Draws a panel for each evaluation with every arm's difference and its interval."""
    panels: dict[str, dict[str, tuple[float, float | None, float | None]]] = {}
    for row in rows:
        panel, change = panels.setdefault(row["evaluation"], {}), row["difference"]
        if change is not None:
            panel[row["arm"]] = change["mean"], change["low"], change["high"]
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
    tested = sum(1 for r in rows if r["difference"] and r["difference"]["low"] is not None)
    lines = [
        f"# Differences to {plan.baseline}",
        "",
        f"{done} of {len(plan.runs)} runs are done: {len(plan.arms)} arms, seeds "
        f"{', '.join(map(str, plan.seeds))}. All numbers are of test images, in %.",
        "",
        "Std is the standard deviation over the seeds. Change is the mean of the differences "
        f"between runs of one seed, with Student's {CONFIDENCE:.0%} confidence interval.",
    ]
    if tested:
        chance = (1 - CONFIDENCE) * tested
        lines[-1] += f" Of {tested} such intervals, about {chance:.1f} exclude 0 by chance."
    lines += _told_apart(rows, plan.baseline)
    lines += _overview(plan, rows)
    for evaluation in plan.evaluations:
        own = [row for row in rows if row["evaluation"] == evaluation.name]
        if own:
            line = evaluation.line.partition("=")[2]
            lines += ["", f"## {evaluation.name}", "", f"`{_short(line)}`: {_words(own[0])}.", ""]
            lines.append(_table(own))
    lines += _failures(failures)
    if not_part:
        listed = ", ".join(not_part)
        lines += ["", "## Not part of the study", "", f"Kept, and not counted: {listed}."]
    return "\n".join([*lines, "", markdown.origin(commands, records)])


def _told_apart(rows: Sequence[Mapping[str, Any]], baseline: str) -> list[str]:
    """Returns the differences whose intervals exclude 0, the largest first."""
    found = [row for row in rows if verdict(row["difference"]) in (GAIN, LOSS)]
    found.sort(key=lambda row: -row["difference"]["mean"])
    lines = [f"- {row['arm']}, {row['evaluation']}: {_change(row['difference'])}" for row in found]
    return ["", f"## Told from {baseline}", "", *(lines or ["Nothing yet."])]


def _overview(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a table of all changes, a row for each evaluation and a column for each arm."""
    arms = [arm for arm in plan.arms if arm != plan.baseline]
    changes = {(row["evaluation"], row["arm"]): row["difference"] for row in rows}

    def cell(evaluation: str, arm: str) -> str:
        change = changes.get((evaluation, arm))
        if change is None:
            return ""
        mark = "**" if verdict(change) in (GAIN, LOSS) else ""
        return f"{mark}{change['mean']:+.2f}{mark}"

    names = [evaluation.name for evaluation in plan.evaluations]
    cells = [[name, *(cell(name, arm) for arm in arms)] for name in names]
    text = "Mean changes, in points. Bold: the interval excludes 0."
    return ["", "## All changes", "", text, "", markdown.table(["", *arms], cells)]


def _change(difference: Mapping[str, Any]) -> str:
    mean, low, high = difference["mean"], difference["low"], difference["high"]
    return f"{mean:+.2f}" + ("" if low is None else f" [{low:+.2f}, {high:+.2f}]")


def _words(row: Mapping[str, Any]) -> str:
    return str(row["metric"]).replace("_", " ")


def _short(line: str) -> str:
    """Returns the line of an evaluation without the folders above its images."""
    parts = [word.rpartition("=") for word in line.split(" ")]
    return " ".join(f"{name}{equals}{without_folders(value)}" for name, equals, value in parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
        change = row["difference"]
        shown = "" if change is None else _change(change)
        mean = f"{row['mean']:.2f}{spread}"
        cells.append([row["arm"], mean, len(row["values"]), shown, verdict(change)])
    return markdown.table(["arm", "mean ± std", "seeds", f"change [{CONFIDENCE:.0%}]", ""], cells)


def _failures(failures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not failures:
        return []
    lines = ["", "## Failed", "", "The same command tries these again.", ""]
    return lines + [f"- {name}, {f['stage']}: {f['reason']}" for name, f in failures.items()]
