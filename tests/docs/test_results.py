"""docs/results.md says what the records of the studies say, computed here anew."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from evaluation.studies.plan import read_study
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "results.md"
# The heading of each study's section, and its records.
STUDIES = {
    "Does style augmentation help?": "short",
    "Does it help MoCo v2?": "short_moco",
    "Does it help BYOL?": "short_byol",
    "Does it help in a longer training?": "short_long",
}
METRICS = {
    "Caltech-101, linear": "mean_per_class_accuracy",
    "shape bias": "shape_bias",
}


def accuracies(study, arm, evaluation):
    """{seed: percent}."""
    files = (ROOT / "studies" / "results" / study / arm).glob("*.json")
    metric = METRICS.get(evaluation, "accuracy")
    records = {int(file.stem): json.loads(file.read_text()) for file in files}
    return {seed: 100 * r["evaluations"][evaluation][metric] for seed, r in records.items()}


def evaluations(study):
    """The names of those that every record of a study has."""
    files = (ROOT / "studies" / "results" / study).glob("*/*.json")
    return set.intersection(*({*json.loads(f.read_text())["evaluations"]} for f in files))


def change(study, arm, evaluation):
    """The mean difference to the baseline and Student's 95 % interval."""
    own = accuracies(study, arm, evaluation)
    baseline = accuracies(study, "baseline", evaluation)
    assert own.keys() == baseline.keys() and len(own) >= 3
    result = stats.ttest_rel(
        [own[seed] for seed in sorted(own)], [baseline[s] for s in sorted(own)]
    )
    mean = np.mean([own[seed] - baseline[seed] for seed in own])
    return mean, *result.confidence_interval(0.95)


def tables(heading):
    """[evaluation, arm, cell] of all tables of changes in the section of a heading."""
    section = PAGE.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for table in re.findall(r"^\| arm \|.*\n(?:\|.*\n)+", section, re.MULTILINE):
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        header, _, *body = rows
        found += [
            (evaluation, row[0], cell)
            for row in body
            for evaluation, cell in zip(header[1:], row[1:], strict=True)
        ]
    return found


@pytest.mark.parametrize(("heading", "study"), STUDIES.items())
def test_the_tables_are_those_of_the_records(heading, study):
    cells = tables(heading)
    arms = {folder.name for folder in (ROOT / "studies" / "results" / study).iterdir()}
    assert {cell[:2] for cell in cells} == {(e, arm) for e in evaluations(study) for arm in arms}
    for evaluation, arm, cell in cells:
        if arm == "baseline":
            values = [*accuracies(study, arm, evaluation).values()]
            expected = f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
        else:
            mean, low, high = change(study, arm, evaluation)
            expected = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            if low > 0 or high < 0:
                expected = f"**{expected}**"
        assert cell == expected, (evaluation, arm)


def test_the_intervals_without_0_are_as_many_as_the_page_says():
    cells = tables("Does style augmentation help?")
    told_apart = [cell for *_, cell in cells if cell.startswith("**")]
    assert all(cell.startswith("**-") for cell in told_apart)
    assert f"{len(told_apart)} do, and all of them are\nlosses" in PAGE.read_text()


def test_the_two_best_arms_are_those_of_the_rule():
    """docs/study.md, criteria."""
    counted = ("Caltech-101, linear", "CIFAR-10, ten shots", "fundus, linear", "robustness")
    arms = [name for name, _ in read_study(f"{ROOT}/studies/style.py:short")["arms"][1:]]
    home = {arm: change("short", arm, "home, linear") for arm in arms}
    score = {arm: np.mean([change("short", arm, name)[0] for name in counted]) for arm in arms}
    able = [arm for arm in arms if home[arm][2] >= 0]
    assert len(able) >= 2
    best = sorted(able, key=lambda arm: -score[arm])[:2]
    other = read_study(f"{ROOT}/studies/style.py:short_moco")
    assert {name for name, _ in other["arms"]} == {"baseline", *best}
