"""What `make bench` says of results that are the same, that fell, and that are not there."""

import json
import pathlib
import shutil

import pytest

from benchmarks import compare

COMMITTED = pathlib.Path(__file__).parents[2] / "benchmarks" / "results"


def test_every_committed_result_is_compared_with_itself():
    # at_size has a machine's own times alone. Results of a new benchmark may not be there yet.
    files = {path.name for path in COMMITTED.glob("*.json")}
    assert files - {"at_size.json"} <= set(compare.RATIOS)
    rows = compare.compared(COMMITTED, COMMITTED)
    assert len(rows) > 30
    assert all(before == after > 0 for _, before, after in rows)
    assert not any(compare.fell(before, after, 0.01) for _, before, after in rows)


def test_a_ratio_that_fell_is_told(tmp_path):
    shutil.copy(COMMITTED / "pretraining.json", tmp_path)
    report = json.loads((tmp_path / "pretraining.json").read_text())
    case = report["results"][1]
    case["against_off"] /= 2
    (tmp_path / "pretraining.json").write_text(json.dumps(report))
    rows = compare.compared(COMMITTED, tmp_path)
    fallen = [name for name, *ratio in rows if compare.fell(*ratio, 0.25)]
    assert fallen == [f"{case['case']}: {case['sassl']}, on/off"]
    (line,) = [line for line in compare.table(rows, 0.25).splitlines() if "worse" in line]
    assert fallen[0] in line


def test_a_stylizer_that_does_nothing_is_told(tmp_path):
    report = json.loads((COMMITTED / "stylizers.json").read_text())
    decibels = report["fidelity"][0]["decibels"]
    decibels["compact, float32"] = decibels["the plain image"]
    (tmp_path / "stylizers.json").write_text(json.dumps(report))
    rows = compare.compared(COMMITTED, tmp_path)
    fallen = [name for name, *ratio in rows if compare.fell(*ratio, 0.25)]
    assert fallen == ["compact, float32, 128 px: dB beyond the plain image"]


def test_nothing_in_common(tmp_path):
    with pytest.raises(ValueError, match="make bench"):
        compare.compared(COMMITTED, tmp_path)
