"""What `make bench` says of results that are the same, that fell, and that are not there."""

import json
import pathlib

import pytest

from benchmarks import compare

COMMITTED = pathlib.Path(__file__).parents[2] / "benchmarks" / "results"


def test_every_committed_result_is_compared_with_itself():
    # at_size has a machine's own times alone. Results of a new benchmark may not be there yet.
    files = {path.name for path in COMMITTED.glob("*.json")}
    assert files - {"at_size.json"} <= {*compare.SPEEDS, *compare.FIDELITIES}
    rows, left_out = compare.compared(COMMITTED, COMMITTED)
    assert len(rows) > 30
    # Measured before they named the version of compact, or what the processor has.
    unnamed = {"pretraining.json", "stylizers.json", "view_pipelines.json"}
    assert {file for file, _ in left_out} <= unnamed
    assert all(before == after > 0 for _, before, after in rows)
    assert not any(compare.fell(before, after, 0.01) for _, before, after in rows)


def test_ratios_that_are_left_out_here_can_be_computed():
    for file, ratios in (
        ("pretraining.json", compare.of_pretraining),
        ("stylizers.json", compare.speed_of_stylizers),
        ("view_pipelines.json", compare.of_view_pipelines),
    ):
        found = ratios(json.loads((COMMITTED / file).read_text()))
        assert found and all(ratio > 0 for ratio in found.values())


def test_a_ratio_that_fell_is_told(tmp_path):
    report = json.loads((COMMITTED / "extraction.json").read_text())
    case = report["extraction"][1]
    case["ratio"] /= 2
    (tmp_path / "extraction.json").write_text(json.dumps(report))
    rows, left_out = compare.compared(COMMITTED, tmp_path)
    fallen = [name for name, *ratio in rows if compare.fell(*ratio, 0.25)]
    assert fallen == [f"extraction/ready batches: {case['encoder']}, {case['size']} px"]
    assert not left_out
    (line,) = [line for line in compare.table(rows, 0.25).splitlines() if "worse" in line]
    assert fallen[0] in line


def test_a_stylizer_that_does_nothing_is_told(tmp_path):
    report = json.loads((COMMITTED / "stylizers.json").read_text())
    decibels = report["fidelity"][0]["decibels"]
    decibels["compact, float32"] = decibels["the plain image"]
    (tmp_path / "stylizers.json").write_text(json.dumps(report))
    rows, _ = compare.compared(COMMITTED, tmp_path)
    fallen = [name for name, *ratio in rows if compare.fell(*ratio, 0.25)]
    assert fallen == ["compact, float32, 128 px: dB beyond the plain image"]


def test_results_that_cannot_be_compared_are_left_out_and_told(tmp_path):
    report = json.loads((COMMITTED / "stylizers.json").read_text())
    folders = tmp_path / "before", tmp_path / "after"

    def compared(**changes):
        machine = report["machine"] | {"bfloat16": True}
        for folder, own in zip(folders, ({}, changes), strict=True):
            folder.mkdir(exist_ok=True)
            changed = {**report, **own, "machine": machine | own.get("machine", {})}
            (folder / "stylizers.json").write_text(json.dumps(changed))
        rows, left_out = compare.compared(*folders)
        return {"speed" if "as fast as" in name else "fidelity" for name, *_ in rows}, left_out

    assert compared() == ({"speed", "fidelity"}, [])
    found, ((file, (reason,)),) = compared(machine={"bfloat16": False})
    assert (found, file) == ({"fidelity"}, "stylizers.json") and "processor" in reason
    found, left_out = compared(compact="another")
    assert not found and all("compact" in reason for _, (reason,) in left_out)


def test_nothing_in_common(tmp_path):
    with pytest.raises(ValueError, match="make bench"):
        compare.compared(COMMITTED, tmp_path)
