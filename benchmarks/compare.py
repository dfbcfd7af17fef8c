"""Changes of speed: the ratios of a fresh run of the benchmarks, beside the committed ones.

    python -m benchmarks.compare --fresh=build/bench [--committed=benchmarks/results]

Absolute times are a machine's own, so only ratios are compared, each of two things of one run, and
fidelity beyond that of the plain image. More is better in all of them. Results of another version
of compact, and its speed on a processor of another kind, are left out. A ratio that fell by more
than `--tolerance` is a regression, and the exit status is 1; machines that do other things drift by
a fifth and more, so run it again before you believe it.
"""

import json
import pathlib
import sys

from absl import flags

from sassl_tf.errors import UserError
from training.command import binary

_FRESH = flags.DEFINE_string("fresh", None, "Folder of the new results.", required=True)
_COMMITTED = flags.DEFINE_string("committed", "benchmarks/results", "Folder of those to keep up.")
_TOLERANCE = flags.DEFINE_float("tolerance", 0.25, "Share by which a ratio may fall.")

PLAIN = "the plain image"  # the row of a stylizer that does nothing


def of_views(report):
    rates = {
        (row["size"], row["operation"], row["library"]): row["images_per_second"]
        for row in report["results"]
    }
    return {
        f"{operation}, {size} px: ours/{library}": rates[size, operation, "ours"] / rate
        for (size, operation, library), rate in rates.items()
        if library != "ours"
    }


def of_view_pipelines(report):
    ratios = {}
    for row in report["results"]:
        against, name, size = row["against_ours"], row["pipeline"], row["size"]
        if name.startswith("ours, "):
            ratios[f"views of {size} px: {name.removeprefix('ours, ')}/ours"] = against
        elif name != "ours":
            ratios[f"views of {size} px: ours/{name}"] = 1 / against
    return ratios


def of_pretraining(report):
    return {
        f"{row['case']}: {row['sassl']}, on/off": row["against_off"]
        for row in report["results"]
        if row["sassl"] != "off"
    }


def speed_of_stylizers(report):
    return {
        f"{row['stylizer']}, {row['size']} px: times as fast as mobile": row[
            "times_as_fast_as_mobile"
        ]
        for row in report["speed"]["rows"]
        if row["stylizer"] != "mobile"
    }


def fidelity_of_stylizers(report):
    ratios = {}
    for found in report["fidelity"]:
        ways = {way: decibels["mean"] for way, decibels in found["decibels"].items()}
        plain = ways.pop(PLAIN)
        for way, decibels in ways.items():
            ratios[f"{way}, {found['size']} px: dB beyond {PLAIN}"] = decibels - plain
    for found in report["texture"]:
        rows = found["rows"]
        plain = {row["alpha"]: row["psnr"] for row in rows if row["stylizer"] == PLAIN}
        for row in rows:
            if row["stylizer"] in ("compact, float32", "compact, bfloat16"):
                name = f"{row['stylizer']}, {found['size']} px, α = {row['alpha']}"
                ratios[f"{name}: 1 - style gap"] = 1 - row["style_gap"]
                ratios[f"{name}: fine detail explained"] = row["detail_explained"]
                beyond = row["psnr"] - plain[row["alpha"]]
                ratios[f"{name}: dB of T's picture beyond {PLAIN}"] = beyond
    return ratios


def of_l2_sweep(report):
    seconds = {row["solver"]: row["seconds"] for row in report["sweep"]}
    return {"L2 sweep: scikit-learn's lbfgs/ours, seconds": seconds["lbfgs"] / seconds["ours"]}


def of_extraction(report):
    return {
        f"extraction/ready batches: {row['encoder']}, {row['size']} px": row["ratio"]
        for row in report["extraction"]
    }


def of_data_service(report):
    one = report["scaling"][0]["batches_per_second"]
    return {
        f"data service: {row['workers']} workers/one": row["batches_per_second"] / one
        for row in report["scaling"][1:]
    }


def of_domains(report):
    return {
        f"compact, {domain['contents']}, α = {row['alpha']}: 1 - style gap": 1 - row["style_gap"]
        for domain in report["domains"]
        for row in domain["rows"]
        if row["stylizer"] == "compact"
    }


def of_latency(report):
    """More reads in flight and windows of neighbours, against the fewest single reads."""
    ratios = {}
    for ms in sorted({row["ms"] for row in report["rows"]}):
        rows = [row for row in report["rows"] if row["ms"] == ms]
        base = rows[0]["images_per_second"]["records"]
        for row in rows:
            for form, speed in row["images_per_second"].items():
                name = f"{form}, {row['reads']} reads of {ms:g} ms in flight"
                ratios[f"{name}/records, {rows[0]['reads']}"] = speed / base
    return ratios


SPEEDS = {
    "views.json": of_views,
    "view_pipelines.json": of_view_pipelines,
    "pretraining.json": of_pretraining,
    "stylizers.json": speed_of_stylizers,
    "l2_sweep.json": of_l2_sweep,
    "extraction.json": of_extraction,
    "data_service.json": of_data_service,
    "latency.json": of_latency,
}
FIDELITIES = {"stylizers.json": fidelity_of_stylizers, "domains.json": of_domains}
STYLIZING = ("view_pipelines.json", "pretraining.json", "stylizers.json", "domains.json")


def differences(file, kind, before, after):
    """Returns why the ratios of two reports cannot be compared, a list of reasons."""
    if file not in STYLIZING:
        return []
    reasons = []
    if None in (pair := (before.get("compact"), after.get("compact"))) or pair[0] != pair[1]:
        reasons.append("the version of compact is another, or not recorded")
    fast = before["machine"].get("bfloat16"), after["machine"].get("bfloat16")
    # bfloat16 halves compact's time where the processor has it.
    if kind is SPEEDS and (None in fast or fast[0] != fast[1]):
        reasons.append("the kind of processor is another, or not recorded")
    return reasons


def compared(committed, fresh):
    """The ratios that both folders have, and those that cannot be compared.

    Returns:
        [(name, committed, fresh)], and [(file, reasons)] of what was left out.

    Raises:
        ValueError: they have none in common.
    """
    rows, left_out = [], []
    for kind in (SPEEDS, FIDELITIES):
        for file, ratios in kind.items():
            paths = pathlib.Path(committed) / file, pathlib.Path(fresh) / file
            if not all(path.exists() for path in paths):
                continue
            reports = [json.loads(path.read_text()) for path in paths]
            if reasons := differences(file, kind, *reports):
                left_out.append((file, reasons))
                continue
            before, after = map(ratios, reports)
            rows += [(name, before[name], after[name]) for name in before if name in after]
    if not rows and not left_out:
        raise UserError(f"{committed} and {fresh} have no results in common; run make bench.")
    return rows, left_out


def table(rows, tolerance):
    """Markdown, with a word on every ratio that moved by more than the tolerance."""
    lines = ["| ratio | committed | now | |", "|---|---|---|---|"]
    for name, before, after in rows:
        word = "worse" if fell(before, after, tolerance) else ""
        word = "better" if fell(after, before, tolerance) else word
        lines.append(f"| {name} | {before:.2f} | {after:.2f} | {word} |")
    return "\n".join(lines)


def fell(before, after, tolerance):
    """Returns whether a ratio fell by more than that share of its value before."""
    return after < before * (1 - tolerance)


def main(_):
    rows, left_out = compared(_COMMITTED.value, _FRESH.value)
    print(table(rows, _TOLERANCE.value))
    for file, reasons in left_out:
        print(f"{file} was not compared: {' and '.join(reasons)}.")
    worse = [name for name, *ratio in rows if fell(*ratio, _TOLERANCE.value)]
    print(f"\n{len(rows)} ratios, {len(worse)} worse by more than {_TOLERANCE.value:.0%}.")
    sys.exit(bool(worse))


if __name__ == "__main__":
    binary.run(main)
