"""Studies: checked before they start, continued after a kill, done by their records alone."""

import copy
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats

import tests.commands
from evaluation import evaluate as evaluate_module
from evaluation import evaluations as evaluations_module
from evaluation import study as module
from evaluation.evaluate import check_data, evaluate, parse_evaluation, parse_evaluations
from evaluation.report import paired_difference
from evaluation.results import REVISIONS, revision_of
from evaluation.studies import plan as plans
from evaluation.studies import records
from evaluation.studies import report as reports
from evaluation.studies.plan import make_plan, read_study
from evaluation.studies.processes import Failed, Stopped
from evaluation.studies.report import verdict
from evaluation.studies.times import Times
from evaluation.study import Study
from sassl_tf import plot
from sassl_tf.checked import read_json, write_json
from sassl_tf.errors import UserError
from sassl_tf.representation.features import PREPARATION
from tests.evaluation.tiny import tiny_encoder, write_class_folders
from training.configs.earlier import as_written
from training.engine.assembly import fingerprints
from training.engine.lock import locked
from training.engine.preemption import StopRequest
from training.styles import build_augmentation

KNN = "kNN=knn on folder:images"
STUDY = {
    "config": "training/configs/simclr.py:smoke",
    "changes": {"dataset": "folder:images", "batch_size": 16, "epochs": 6.0},
    "arms": [("baseline", {"style": "none"}), ("half", {"sassl.probability": 0.5})],
    "seeds": [0, 1],
    "evaluations": [KNN],
}


@pytest.fixture(scope="module", autouse=True)
def images(tmp_path_factory):
    """The tests' folder, with `images` in it."""
    folder = tmp_path_factory.mktemp("study")
    write_class_folders(folder / "images")
    write_class_folders(folder / "single", train=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(plans.ROOT))
        yield folder


def changed(**changes):
    return {**copy.deepcopy(STUDY), **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": [*STUDY["arms"], ("third", {"sassl.probabilty": 1.0})]}, "sassl.probability"),
        ({"arms": [*STUDY["arms"], ("half", {"sassl.probability": 0.4})]}, "name half"),
        ({"arms": [*STUDY["arms"], ("same", {"sassl.probability": 0.5})]}, "half and same"),
        (
            {"arms": [*STUDY["arms"], ("third", {"sassl.probability": 1.5})]},
            r"arm third: .*sassl\.probability is 1\.5; expected .* at most 1",
        ),
        ({"arms": [*STUDY["arms"], ("third", {"sassl.probability": "a"})]}, "third sets"),
        ({"arms": [*STUDY["arms"], ("third", {"seed": 3})]}, "third changes the seed"),
        ({"arms": [*STUDY["arms"], ("a/b", {})]}, "name is 'a/b'"),
        ({"arms": [*STUDY["arms"], ("..", {})]}, r"name is '\.\.'"),
        ({"arms": [*STUDY["arms"], ("third", {"dataset": "folder:x"})]}, "the same images"),
        ({"arms": STUDY["arms"][:1]}, "1 arms"),
        ({"arms": ["baseline"]}, "expected [(]name"),
        ({"seeds": [0, 1, 0]}, "seed 0 is given twice"),
        ({"seeds": []}, "no seeds"),
        ({"seeds": 5}, "'seeds' is 5; expected a list of whole numbers"),
        ({"seeds": ["0"]}, "A seed is '0'"),
        ({"seeds": [0.5]}, "A seed is 0.5"),
        ({"arms": {"baseline": {}}}, "'arms' is .* expected a list"),
        ({"changes": None}, "'changes' is None; expected a dict"),
        ({"evaluations": KNN}, "'evaluations' is 'kNN.* expected a list of texts"),
        ({"evaluations": []}, "no evaluations"),
        ({"evaluations": ["ten=few_shot_11 on folder:images"]}, "'ten'.*has 10 train images"),
        ({"evaluations": ["ten=few_shot_0 on folder:images"]}, "'ten': shots is 0"),
        ({"evaluations": ["f=finetune_0.1 on folder:images"]}, "'f': There is one train image per"),
        (
            {"evaluations": ["d=domains on folder:images --test=folder:./images/"]},
            "'d': The test domain folder:./images/ is the train domain too",
        ),
        ({"evaluations": ["pets=knn on folder:missing"]}, "'pets'.*missing does not exist"),
        ({"evaluations": [KNN, "kNN=few_shot_1 on shapes"]}, "name 'kNN'"),
        ({"evaluations": [KNN, f"b={KNN[4:]} --k=3"]}, "'kNN' and 'b'"),
        (
            {"evaluations": ["one=robustness on folder:single"]},
            "'one': There is one train image per",
        ),
        (
            {"evaluations": ["one=domains on folder:single --test=folder:images"]},
            "'one': There is one train image per",
        ),
        ({"changes": {"dataset": "folder:missing"}}, "missing does not exist"),
        ({"config": "training/configs/simclr.py:smook"}, "smoke"),
        ({"config": "nowhere.py:smoke"}, "nowhere.py"),
        ({"arm": []}, 'Did you mean "arms"'),
    ],
)
def test_bad_studies_are_told_before_the_first_run(changes, told):
    with pytest.raises(UserError, match=told):
        make_plan(changed(**changes))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("knn on shapes", "NAME=PROTOCOL on DATASET"),
        ("a=knn", "NAME=PROTOCOL on DATASET"),
        ("a=nn on shapes", 'Did you mean "knn"'),
        ("a=few_shot_x on shapes", "no protocol 'few_shot_x'"),
        ("a=knn on shapes --trials=3", "--temperature"),
        ("a=knn on shapes --k=0", "flag --k=0: 0 is not a positive integer"),
        ("a=knn on shapes --temperature=0", "temperature is 0"),
        ("a=sgd_probe on shapes --learning_rate=-1", "learning_rate is -1"),
        ("a=finetune on shapes --learning_rates=", "learning rates are none"),
        ("a=finetune on shapes --weight_decays=0,-1", "weight decays are 0,-1"),
        ("a=knn on paper", "names no images"),
        ("a=knn on nowhere", "no target 'nowhere'"),
        ("a=shape_bias on shapes", "cue_conflict"),
        ("a=knn on shapes --k='3", "'a': No closing quotation"),
    ],
)
def test_bad_evaluations_are_told(text, told):
    with pytest.raises(UserError, match=told):
        parse_evaluation(text)


def test_an_evaluation_is_its_protocol_with_the_settings_and_the_targets_metric():
    one = parse_evaluation("Caltech, 5=few_shot_5 on caltech101=folder:a/b --trials=2")
    assert (one.name, one.settings.shots, one.settings.trials) == ("Caltech, 5", 5, 2)
    assert one.target.spec == "folder:a/b" and one.metric == "mean_per_class_accuracy"
    probe = parse_evaluation("p=linear_probe on caltech101=folder:a --l2_values=3")
    assert probe.settings.l2_values == pytest.approx((1e-6, 10**-0.5, 1e5))
    assert probe.settings.metric == "mean_per_class_accuracy"
    share = parse_evaluation("1 %=finetune_0.01 on shapes --steps=7 --learning_rates=0.1,1")
    assert share.settings.label_share == 0.01 and share.settings.learning_rates == (0.1, 1.0)
    bias = parse_evaluation("b=shape_bias on shapes --cue_conflict='a b'")
    assert bias.settings.cue_conflict == "a b" and bias.metric == "shape_bias"


def test_evaluations_by_name(tmp_path, monkeypatch):
    """The results are those of the protocols; what is done stays done, what fails is told."""
    write_class_folders(tmp_path / "one")
    (tmp_path / "run").mkdir()
    tiny_encoder().save(tmp_path / "run" / "encoder.keras")
    (tmp_path / "run" / "config.json").write_text(json.dumps({"image_size": 16}))
    lines = [
        f"near=knn on folder:{tmp_path / 'one'} --k=3",
        f"ten=few_shot_20 on folder:{tmp_path / 'one'}",
        f"first=few_shot_1 on folder:{tmp_path / 'one'} --trials=2",
    ]
    evaluations = parse_evaluations(lines)
    results, failures = evaluate(tmp_path / "run", evaluations)
    assert [*results] == ["near", "first"] and results["near"]["k"] == 3
    assert results["near"] == read_json(tmp_path / "run" / evaluations[0].file)
    assert "10 train images" in failures["ten"]
    kept = read_json(tmp_path / "run" / evaluate_module.EVALUATIONS_FILE)
    assert kept == json.loads(json.dumps({"results": results, "failures": failures}))
    monkeypatch.setattr(evaluations_module, "say", lines.append)
    again, _ = evaluate(tmp_path / "run", evaluations[:1])
    assert again == {"near": results["near"]} and lines[-1] == "near: done before"
    flags = [f"--encoder={tmp_path / 'run'}", *(f"--evaluation={line}" for line in lines[:3])]
    done = tests.commands.run("evaluation.evaluate", *flags)
    assert done.returncode == 1 and "first: done before" in done.stderr, done.stderr
    assert "near: accuracy 100.00 %" in done.stdout and "ten: " in done.stdout


def test_the_report_shows_evaluations_without_folders():
    line = "shape_bias on caltech101=folder:/a/b --cue_conflict=/c/d --trials=1"
    short = "shape_bias on caltech101=folder:b --cue_conflict=d --trials=1"
    assert reports._short(line) == short


def change_of(mean, low, high, pairs=3):
    return {"mean": mean, "low": low, "high": high, "pairs": pairs}


def test_verdicts():
    assert verdict(change_of(1.0, 0.1, 2.0)) == "**gain**"
    assert verdict(change_of(-1.0, -2.0, -0.1)) == "**loss**"
    assert verdict(change_of(0.4, -1.26, 2.0)) == ""
    # Two pairs that happen to differ by the same are no finding.
    assert verdict(paired_difference({0: 50.2, 1: 51.4}, {0: 50.0, 1: 51.2})) == ""
    assert verdict(paired_difference({0: 50.2}, {0: 50.0})) == ""


def test_what_an_evaluation_measures():
    robustness = parse_evaluation("r=robustness on shapes")
    result = {"accuracy": 0.4, "clean_accuracy": 0.5, "by_group": {"noise": 0.3, "blur": 0.2}}
    found = {"accuracy": 0.4, "clean accuracy": 0.5, "noise": 0.3, "blur": 0.2}
    assert records.measures(robustness, result) == found
    domains = parse_evaluation("d=domains on shapes --test=folder:art")
    art = {"folder:art": {"accuracy": 0.1, "images": 7}}
    result = {"accuracy": 0.1, "home_accuracy": 0.9, "by_domain": art}
    found = {"accuracy": 0.1, "home accuracy": 0.9, "folder:art": 0.1}
    assert records.measures(domains, result) == found
    assert records.measures(parse_evaluation(KNN), {"accuracy": None}) == {}


def test_the_accuracy_of_one_answer(images):
    """The tests' images have as many of each class; then one class has most."""
    shutil.copytree(images / "images", images / "uneven")
    for number in range(1, 3):
        for file in sorted((images / "uneven" / "test" / f"class{number}").iterdir())[1:]:
            file.unlink()
    lines = [
        f"even={KNN[4:]}",
        "uneven=knn on folder:uneven",
        "by class=linear_probe on caltech101=folder:uneven",
        "bias=domains on folder:uneven --test=folder:images",
    ]
    found = check_data(parse_evaluations(lines))
    counts = len([*(images / "uneven" / "test" / "class0").iterdir()])
    share = counts / (counts + 2)
    assert [one.constant for one in found.values()] == [
        pytest.approx(1 / 3),
        pytest.approx(share),
        pytest.approx(1 / 3),
        None,
    ]


def test_times():
    times = Times()
    assert times.left() == 0
    times.wait("a", 3)
    assert times.left() is None
    for seconds in (8.0, 12.0):
        times.add("a", seconds)
    times.wait("b", 1)
    times.add("c", 40.0)
    # Three of arm a at 10 s each, one of b, which has none yet, at the mean of all.
    assert times.left() == pytest.approx(30 + 20)


class Commands:
    """Stands for the processes of a study: writes what they write, with accuracies made up.

    Attributes:
        calls: (command, arm, folder) of each.
        failing: the call that fails, if any.
        broken: the names of the evaluations that fail.
    """

    def __init__(self):
        self.calls, self.failing, self.broken, self.plan = [], None, (), None

    def go(self, study, workdir, **options):
        self.plan = make_plan(study)
        whole = Study(self.plan, workdir, **options)
        whole.run()
        return whole

    def trained(self):
        return [(arm, folder) for command, arm, folder in self.calls if command == "pretrain"]

    def __call__(self, arguments, log, stop):
        named = dict(a.removeprefix("--").split("=", 1) for a in arguments[2:])
        folder = pathlib.Path(named.get("workdir") or named["encoder"])
        command, arm = arguments[1].rpartition(".")[-1], folder.parent.name
        self.calls.append((command, arm, folder.name))
        if self.failing == self.calls[-1]:
            raise Failed("no luck")
        seed = int(folder.name[0])
        [run] = [run for run in self.plan.runs if (run.arm, run.seed) == (arm, seed)]
        if command == "pretrain":
            config = as_written(run.config)
            config["fingerprints"] = plans.run_fingerprints(run, self.plan.dataset)
            write_json(folder / "config.json", config)
            (folder / "encoder.keras").write_text(f"encoder {len(self.calls)}")
            (folder / "checkpoints").mkdir()
            return
        accuracy = (seed + 1) / 10 + (0.05 + seed / 100 if arm != "baseline" else 0)
        one = {
            "accuracy": accuracy,
            "preparation": PREPARATION,
            "versions": {"tensorflow": "2"},
            "encoder_fingerprint": (folder / "encoder.keras").read_text(),
        }
        asked = [a.partition("=")[2] for a in arguments if a.startswith("--evaluation=")]
        revisions = {
            evaluation.name: revision_of(evaluation.settings.evaluation)
            for evaluation in map(parse_evaluation, asked)
        }
        results = {
            name: {**one, "revision": revision}
            for name, revision in revisions.items()
            if name not in self.broken
        }
        failures = {name: "It is broken." for name in revisions if name in self.broken}
        write_json(folder / "evaluations.json", {"results": results, "failures": failures})
        if failures:
            raise Failed("the last line of the log")


def test_the_picture_shows_each_difference_with_its_interval():
    plan = make_plan(STUDY)
    knn = {"evaluation": "kNN", "metric": "accuracy"}
    rows = [
        {**knn, "arm": "baseline", "difference": None},
        {**knn, "arm": "half", "difference": change_of(2.0, 1.0, 3.0)},
        {**knn, "metric": "clean accuracy", "arm": "half", "difference": change_of(5.0, 4.0, 6.0)},
    ]
    [axis] = reports.draw(plan, rows).axes
    assert axis.get_title(loc="left") == "kNN"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["half"]
    drawn = [[*map(float, line.get_xdata())] for line in axis.lines]
    assert drawn == [[0, 0], [1, 3], [2]]
    rows[1]["difference"]["pairs"] = 2
    [axis] = reports.draw(plan, rows).axes
    assert [[*map(float, line.get_xdata())] for line in axis.lines] == [[0, 0], [2]]
    [empty] = reports.draw(plan, rows[:1]).axes
    assert empty.get_title(loc="left") == "no pair yet"


def test_the_overview_has_a_row_for_each_evaluation_and_a_column_for_each_arm():
    plan = make_plan({**STUDY, "arms": [*STUDY["arms"], ("third", {"epochs": 0.25})]})
    changes = {
        "half": change_of(2.0, 1.0, 3.0),
        "third": change_of(-0.5, -2.0, 1.0),
        "baseline": None,
    }
    rows = [
        {"evaluation": "kNN", "metric": "accuracy", "arm": arm, "difference": change}
        for arm, change in changes.items()
    ]
    table = reports._overview(plan, rows)[-1].splitlines()
    assert table == ["|  | half | third |", "|---|---|---|", "| kNN | **+2.00** | -0.50 |"]
    one = [{**rows[0], "difference": change_of(2.0, None, None, pairs=1)}]
    assert reports._overview(plan, one)[-1].splitlines()[-1] == "| kNN | +2.00 |  |"
    told = "\n".join(reports._told_apart(plan, rows))
    assert "about 0.1 of these 2 intervals would exclude 0 by chance; 1 does." in told
    assert told.endswith("| kNN | half | +2.00 [+1.00, +3.00] | 3 |")


@pytest.fixture
def commands(monkeypatch):
    made_up = Commands()
    monkeypatch.setattr(module, "run_command", made_up)
    monkeypatch.setattr(reports, "draw", lambda plan, rows: plot.figure(1, 1))  # takes a while
    return made_up


ORDER = [("baseline", "0"), ("half", "0"), ("baseline", "1"), ("half", "1")]


def test_checkpoints_of_runs_that_are_done_can_be_removed_later(commands, tmp_path):
    commands.go(STUDY, tmp_path)
    folders = [tmp_path / "runs" / arm / seed / "checkpoints" for arm, seed in ORDER]
    assert all(folder.is_dir() for folder in folders)
    commands.go(STUDY, tmp_path, remove_checkpoints=True)
    assert not any(folder.exists() for folder in folders) and len(commands.calls) == 8


def test_seed_by_seed_and_done_by_the_record_alone(commands, tmp_path):
    whole = commands.go(STUDY, tmp_path, remove_checkpoints=True)
    assert commands.trained() == ORDER and len(commands.calls) == 8
    assert not (tmp_path / "runs" / "half" / "0" / "checkpoints").exists()
    # Another machine: the records alone, in another place, and the images elsewhere.
    shutil.copytree(tmp_path / "results", tmp_path / "kept")
    shutil.rmtree(tmp_path / "runs")
    shutil.copytree("images", tmp_path / "images")
    elsewhere = json.loads(json.dumps(STUDY).replace("folder:", f"folder:{tmp_path}/"))
    commands.go(elsewhere, tmp_path / "new", results=tmp_path / "kept")
    assert len(commands.calls) == 8
    text = (tmp_path / "new" / "report.md").read_text()
    assert "## Told from baseline\n\nNo arm has 3 pairs yet." in text
    assert "| half | `sassl.probability=0.5` |" in text and "preliminary" not in text
    assert "with `dataset=folder:images`, `batch_size=16`, `epochs=6.0`." in text
    assert "Always predicting the largest class has 33.3 %" in text
    assert text == whole.report() and str(tmp_path) not in text and "4 of 4 runs are done" in text
    assert (tmp_path / "new" / "report.png").exists()
    # The interval by hand: changes of 5 and 6 points.
    reach = scipy.stats.t.ppf(0.975, 1) * 0.5
    [_, row] = json.loads((tmp_path / "new" / "report.json").read_text())["rows"]
    assert row["values"] == {"0": pytest.approx(15), "1": pytest.approx(26)}
    change = row["difference"]
    assert [change[k] for k in ("mean", "low", "high", "pairs")] == pytest.approx(
        [5.5, 5.5 - reach, 5.5 + reach, 2]
    )


def test_a_changed_study_keeps_what_is_part_of_it_and_says_what_is_not(commands, tmp_path):
    commands.go(STUDY, tmp_path)
    del commands.calls[:]
    # Another value for an arm, another seed, and one more evaluation for all of them.
    other = changed(
        arms=[STUDY["arms"][0], ("half", {"sassl.probability": 0.6})],
        seeds=[1, 2],
        evaluations=[KNN, "one=few_shot_1 on folder:images"],
    )
    whole = commands.go(other, tmp_path)
    assert commands.trained() == [("half", "1-2"), ("baseline", "2"), ("half", "2")]
    assert ("evaluate", "baseline", "1") in commands.calls
    not_part = "baseline/0, half/0, half/1"
    assert not_part in whole.summary() and not_part in whole.report()
    assert read_json(tmp_path / "results" / "half" / "1.json")["config"]["sassl"][
        "probability"
    ] == pytest.approx(0.5)
    # And back: all is there.
    del commands.calls[:]
    commands.go(STUDY, tmp_path)
    assert commands.calls == []


def test_records_of_earlier_versions_count(commands, tmp_path):
    commands.go(STUDY, tmp_path)
    for file in (tmp_path / "results").glob("*/*.json"):
        record = read_json(file)
        for later in ("style", "fourier", "color_statistics", "random_style"):
            del record["config"][later]
        write_json(file, record)
    del commands.calls[:]
    commands.go(STUDY, tmp_path)
    assert commands.calls == []


def test_a_new_revision_or_other_images_are_evaluated_again(commands, tmp_path, monkeypatch):
    commands.go(STUDY, tmp_path)
    del commands.calls[:]
    plan = make_plan(STUDY)
    _, record = records.record_of(plan.runs[0], plan, tmp_path / "results")
    assert [*records.valid_results(record, plan)] == ["kNN"]
    record["evaluations"]["kNN"]["listings"]["test"] = "other"
    assert records.valid_results(record, plan) == {}
    monkeypatch.setitem(REVISIONS, "knn", 2)
    assert len(Study(plan, tmp_path).waiting()) == 4


def test_a_run_that_fails_is_told_and_the_others_go_on(commands, tmp_path):
    commands.failing = ("pretrain", "half", "0")
    whole = commands.go(STUDY, tmp_path)
    assert commands.trained() == ORDER
    assert whole.failures() == {"half, seed 0": {"stage": "training", "reason": "no luck"}}
    assert "- half, seed 0, training: no luck" in whole.report()
    assert "3 of 4 runs are done" in whole.report() and "is preliminary" in whole.report()
    # Another task has done all that is its own, and does not fail for it.
    assert Study(make_plan(STUDY), tmp_path, task=0, tasks=2).run() == {}
    with locked(tmp_path / "locks" / "half-0"):  # another process tries it again
        assert Study(make_plan(STUDY), tmp_path).run() == {}
    commands.failing = None
    whole = commands.go(STUDY, tmp_path)
    assert not whole.failures() and commands.trained()[4:] == [("half", "0")]


def test_every_evaluation_that_fails_is_told(commands, tmp_path):
    commands.broken = ("one", "two")
    lines = [KNN, "one=few_shot_1 on folder:images", "two=few_shot_2 on folder:images"]
    whole = commands.go(changed(evaluations=lines), tmp_path)
    reason = whole.failures()["half, seed 1"]["reason"]
    assert reason == "one: It is broken. two: It is broken."


def test_an_evaluation_may_be_renamed(commands, tmp_path):
    commands.go(STUDY, tmp_path)
    del commands.calls[:]
    whole = commands.go(changed(evaluations=[f"another name={KNN[4:]}"]), tmp_path)
    assert commands.calls == [] and "## another name" in whole.report()


def test_a_record_is_of_one_encoder(commands, tmp_path):
    """A run whose encoder is gone is trained again for a new evaluation, and evaluated whole."""
    commands.go(STUDY, tmp_path)
    shutil.rmtree(tmp_path / "runs" / "half" / "0")
    one = "one=few_shot_1 on folder:images"
    commands.broken = ("kNN",)
    whole = commands.go(changed(evaluations=[KNN, one]), tmp_path)
    record = read_json(whole.results / "half" / "0.json")
    assert [*record["evaluations"]] == ["one"]  # the earlier kNN was of another encoder
    kept = read_json(whole.results / "baseline" / "0.json")["evaluations"]
    assert [*kept] == ["kNN", "one"]
    commands.broken = ()
    whole = commands.go(changed(evaluations=[KNN, one]), tmp_path)
    record = read_json(whole.results / "half" / "0.json")
    encoders = {result["encoder_fingerprint"] for result in record["evaluations"].values()}
    assert len(record["evaluations"]) == 2 and len(encoders) == 1


def test_a_run_that_was_trained_again_and_then_killed_is_evaluated_whole(commands, tmp_path):
    """The record has results of the encoder of before, and the next start sees a trained run."""
    commands.go(STUDY, tmp_path)
    shutil.rmtree(tmp_path / "runs" / "half" / "0")
    commands.failing = ("evaluate", "half", "0")
    more = changed(evaluations=[KNN, "one=few_shot_1 on folder:images"])
    commands.go(more, tmp_path)
    commands.failing = None
    whole = commands.go(more, tmp_path)
    assert not whole.waiting() and not whole.failures()
    record = read_json(whole.results / "half" / "0.json")
    encoders = {result["encoder_fingerprint"] for result in record["evaluations"].values()}
    assert len(record["evaluations"]) == 2 and len(encoders) == 1


@pytest.mark.parametrize("style", ["none", "sassl", "random_style"])
@pytest.mark.parametrize("augment_on", ["host", "device"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_fingerprints_of_a_plan_are_those_of_the_training(style, augment_on, precision):
    fields = {"style": style, "augment_on": augment_on, "precision": precision}
    plan = make_plan(changed(arms=[("one", fields), ("other", {**fields, "epochs": 4.0})]))
    run = plan.runs[0]
    expected = fingerprints(plan.dataset, build_augmentation(run.config))
    assert plans.run_fingerprints(run, plan.dataset) == expected


def test_an_arm_that_starts_from_other_weights_is_another_run(commands, tmp_path):
    """Also where the files have one name, and are found by a path that records do not hold."""
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        tiny_encoder(seed=seed).save(tmp_path / name / "encoder.keras")
    shutil.copytree(tmp_path / "a", tmp_path / "moved")

    def warm(name):
        fields = {"encoder.init_from": str(tmp_path / name / "encoder.keras")}
        return changed(arms=[*STUDY["arms"], ("warm", fields)], seeds=[0])

    with pytest.raises(UserError, match=r"arm warm: encoder\.init_from: There is no encoder at"):
        commands.go(warm("gone"), tmp_path)
    assert not commands.calls
    commands.go(warm("a"), tmp_path)
    for name, again in (("moved", []), ("b", [("warm", "0-2")]), ("a", [])):
        del commands.calls[:]
        plans._initial_fingerprints.cache_clear()
        assert not commands.go(warm(name), tmp_path).waiting()
        assert commands.trained() == again
    # Runs that are done need them no more. Earlier versions recorded no fingerprint.
    shutil.rmtree(tmp_path / "a")
    file = tmp_path / "results" / "warm" / "0-2.json"
    record = read_json(file)
    del record["config"]["fingerprints"]["init_from"]
    write_json(file, record)
    for name in ("a", "b"):
        plans._initial_fingerprints.cache_clear()
        assert not commands.go(warm(name), tmp_path).waiting()


def test_a_failure_is_forgotten_when_the_run_is_done_without_it(commands, tmp_path):
    """The evaluation that failed is no longer part of the study, or others have done the run."""
    commands.go(STUDY, tmp_path)
    commands.failing = ("evaluate", "half", "1")
    more = changed(evaluations=[KNN, "one=few_shot_1 on folder:images"])
    assert "half, seed 1" in commands.go(more, tmp_path).failures()
    commands.failing = None
    whole = commands.go(STUDY, tmp_path)
    assert not whole.failures() and "## Failed" not in whole.report()


def test_the_time_left_counts_no_training_that_is_done(commands, tmp_path):
    commands.go(STUDY, tmp_path)
    assert "nothing left" in Study(commands.plan, tmp_path).summary()
    for file in (tmp_path / "results").glob("*/*.json"):
        write_json(file, {**read_json(file), "seconds": {"training": 600.0, "evaluation": 10.0}})
    more = make_plan(changed(evaluations=[KNN, "one=few_shot_1 on folder:images"]))
    assert "about 0:40." in Study(more, tmp_path).summary()  # one of 10 s for each of four runs
    shutil.rmtree(tmp_path / "runs" / "half")
    assert "about 20:40." in Study(more, tmp_path).summary()
    assert "unknown" in Study(more, tmp_path / "other").summary()


def test_the_reports_command_names_the_folder_of_the_records(tmp_path):
    (tmp_path / "study.py").write_text(f"def get_study():\n    return {STUDY!r}\n")
    plan = make_plan(STUDY, f"{tmp_path / 'study.py'}")
    given = Study(plan, tmp_path / "new", results=tmp_path / "records").report()
    assert f"--workdir={tmp_path / 'new'} --results={tmp_path / 'records'}\n" in given
    assert "--results" not in Study(plan, tmp_path / "new").report()


def test_a_signal_ends_the_wait_for_a_folder_in_use(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "IN_USE_SECONDS", 0.01)
    stop = StopRequest()
    stop.number = signal.SIGTERM
    with locked(tmp_path), pytest.raises(Stopped):
        module._wait_until_free(tmp_path, stop)
    module._wait_until_free(tmp_path, stop)  # nobody is there


def test_results_of_another_evaluation_do_not_count_where_a_new_one_fails(commands, tmp_path):
    commands.go(STUDY, tmp_path)
    commands.failing = ("evaluate", "baseline", "0")
    whole = commands.go(changed(evaluations=[f"{KNN} --k=3"]), tmp_path)
    assert whole.failures()["baseline, seed 0"]["stage"] == "evaluation"
    first, second = whole.plan.runs[:2]
    for run, found in ((first, []), (second, ["kNN"])):
        _, record = records.record_of(run, whole.plan, whole.results)
        assert [*records.valid_results(record, whole.plan)] == found


def test_results_of_an_earlier_start_do_not_count_where_a_new_one_is_killed(commands, tmp_path):
    whole = commands.go(STUDY, tmp_path)
    record = whole.results / "baseline" / "0.json"
    record.unlink()
    commands.failing = ("evaluate", "baseline", "0")
    commands.go(STUDY, tmp_path)
    assert not record.exists() and (whole.results / "half" / "0.json").exists()


def test_tasks_share_the_runs_and_a_run_in_use_is_left_alone(commands, tmp_path):
    commands.go(STUDY, tmp_path, task=1, tasks=3)
    assert commands.trained() == [("half", "0")]
    with pytest.raises(UserError, match="task is 3 of 3"):
        Study(make_plan(STUDY), tmp_path, task=3, tasks=3)
    with locked(tmp_path / "locks" / "baseline-0"):
        commands.go(STUDY, tmp_path)
    assert commands.trained()[1:] == [("baseline", "1"), ("half", "1")]


def test_study_files(tmp_path):
    file = tmp_path / "study.py"
    file.write_text("def get_study(text='none'):\n    return {'arms': text}\n")
    assert read_study(f"{file}") == {"arms": "none"}
    assert read_study(f"{file}:long") == {"arms": "long"}
    file.write_text("def get_study():\n    return {1: unknown}\n")
    with pytest.raises(UserError, match=r"study.py, line 2: NameError: name 'unknown'"):
        read_study(f"{file}")
    file.write_text("def get_config():\n    pass\n")
    with pytest.raises(UserError, match=r"no function get_study\(\)"):
        read_study(f"{file}")
    with pytest.raises(UserError, match="There is no file"):
        read_study("nowhere.py")


@pytest.mark.parametrize(
    ("variant", "evaluations"),
    [
        ("simclr", 11),
        ("moco", 11),
        ("byol", 11),
        ("long", 11),
        ("precision", 11),
        ("short", 8),
        ("short_moco", 8),
        ("short_byol", 9),
        ("short_long", 9),
    ],
)
def test_our_own_study_can_be_read(variant, evaluations):
    """Its configs and evaluations, without the images."""
    study = read_study(f"{plans.ROOT / 'studies' / 'style.py'}:{variant}")
    assert len(parse_evaluations(study["evaluations"])) == evaluations
    file = plans.config_path(study["config"])
    runs = [
        plans.make_run(arm, 0, file, {**study["changes"], **changes})
        for arm, changes in study["arms"]
    ]
    assert len({run.config.to_json() for run in runs}) == len(study["arms"])
    assert runs[0].config.style == "none"


@pytest.mark.slow
def test_a_study_for_real_killed_and_continued(tmp_path):
    """SIGKILL in the middle of a run; the end is the same as without."""
    (tmp_path / "study.py").write_text(f"def get_study():\n    return {STUDY!r}\n")
    command = [sys.executable, "-m", "evaluation.study", f"--study={tmp_path / 'study.py'}"]
    killed = [*command, f"--workdir={tmp_path / 'killed'}"]
    process = subprocess.Popen(killed, stderr=subprocess.PIPE, text=True)
    seen = 0
    while seen < 3:  # the third start of a command: the training of the second run
        seen += "output in" in process.stderr.readline()
    time.sleep(5)
    process.kill()
    process.wait()
    for folder in (killed[-1], f"--workdir={tmp_path / 'whole'}"):
        done = subprocess.run([*command, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for name in ("whole", "killed"):
        assert "4 of 4 runs are done" in (tmp_path / name / "report.md").read_text()
    rows = [
        json.loads((tmp_path / name / "report.json").read_text())["rows"]
        for name in ("whole", "killed")
    ]
    assert rows[0] == rows[1]  # the smoke preset is equal to the bit
    assert np.isfinite([row["mean"] for row in rows[0]]).all()
