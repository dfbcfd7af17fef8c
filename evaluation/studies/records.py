"""Records: one small JSON file for each finished run of a study.

A run counts as done by its record alone, even when its workdir is gone. Records hold no path of
the machine, so that they may be kept with the study and continued on another machine.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evaluation.evaluations import Evaluation
from evaluation.folders import without_folders
from evaluation.results import revision_of
from evaluation.studies.plan import Plan, Run, run_fingerprints
from sassl_tf.checked import Damaged, cached, read_json
from sassl_tf.representation.features import PREPARATION
from training.configs.earlier import as_written, up_to_date
from training.engine.workdir import CONFIG_FILE, ENCODER_FILE, checkpoint_steps, differences
from training.report.metrics import read_metrics

# The fields of a config that have no influence on what is learned; the images are compared by
# their listing, which is the same wherever they lie.
WITHOUT_INFLUENCE = (
    "dataset",
    "data_dir",
    "augment_on",
    "log_every",
    "knn_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_checkpoint_every",
    "deterministic",
    "fingerprints.stylizer_precision",
)
# The parts of a result that a record leaves out: long ones, and what the record has itself.
LEFT_OUT = ("sweep", "by_category", "encoder", "command", "dataset_fingerprints")


def identity(evaluation: Evaluation) -> dict[str, Any]:
    """Returns what makes two evaluations the same, without the name and the place of the images."""
    settings, unrecorded = vars(evaluation.settings).items(), evaluation.settings.UNRECORDED
    return {
        "protocol": evaluation.protocol,
        "dataset": without_folders(evaluation.target.spec),
        "crop_proportion": evaluation.target.crop_proportion,
        "metric": evaluation.metric,
        "settings": without_folders({k: v for k, v in settings if k not in unrecorded}),
    }


def is_of(config: Mapping[str, Any], run: Run, plan: Plan) -> bool:
    """Returns whether a `config.json` is that of a run of the study.

    Configs of earlier versions are compared as `training.configs.earlier` reads them.

    Args:
        config: the content of a `config.json`, or of a record.
        run: a run of the study.
        plan: the study.
    """
    apart = {name for name, *_ in _differences(config, run, plan)}
    return apart <= set(WITHOUT_INFLUENCE)


def _differences(config, run, plan):
    """Yields (dotted name, there, here) of each field in which a run's config differs."""
    return differences(
        without_folders(up_to_date(config)), without_folders(_here(config, run, plan))
    )


def _here(config, run, plan):
    """Returns the `config.json` that a run would have, to be compared with one that is there."""
    prints = run_fingerprints(run, plan.dataset)
    # Earlier versions did not record it; and the weights may be gone that a run began with.
    if not {"init_from"} <= config.get("fingerprints", {}).keys() & prints.keys():
        prints["init_from"] = config.get("fingerprints", {}).get("init_from")
    prints = {name: value for name, value in prints.items() if value is not None}
    return {**as_written(run.config), "fingerprints": prints}


def record_of(run: Run, plan: Plan, results: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
    """Finds the record of a run.

    Args:
        run: a run of the study.
        plan: the study.
        results: the folder of all records.

    Returns:
        Its file, `ARM/SEED.json`, or `ARM/SEED-2.json` where the first is of another config; and
        its content, {} if there is none yet.
    """

    def content(path: pathlib.Path) -> dict[str, Any] | None:
        record = cached(read_json, path)
        if record is None:
            return {}
        return record if is_of(record["config"], run, plan) else None

    return _first_fit(results / run.arm, f"{run.seed}", ".json", content)


def folder_of(run: Run, plan: Plan, workdir: pathlib.Path) -> tuple[pathlib.Path, bool]:
    """Finds the workdir of a run.

    Returns:
        Its folder, `runs/ARM/SEED` or `runs/ARM/SEED-2` and so on, and whether the run is trained.
    """

    def trained(path: pathlib.Path) -> bool | None:
        try:
            config = read_json(path / CONFIG_FILE)
        except FileNotFoundError:
            return False if not checkpoint_steps(path) else None
        except Damaged:
            return None
        if (path / ENCODER_FILE).is_file():
            return True if is_of(config, run, plan) else None
        if not checkpoint_steps(path):
            return False  # training.pretrain begins anew there
        return False if _same(config, run, plan) else None

    return _first_fit(workdir / "runs" / run.arm, f"{run.seed}", "", trained)


def _first_fit(
    folder: pathlib.Path, stem: str, suffix: str, read: Callable[[pathlib.Path], Any]
) -> tuple[pathlib.Path, Any]:
    """Returns the first of STEM, STEM-2, ... that `read` gives something for, and that."""
    number = 1
    while True:
        path = folder / (stem + (f"-{number}" if number > 1 else "") + suffix)
        content = read(path)
        if content is not None:
            return path, content
        number += 1


def _same(config: Mapping[str, Any], run: Run, plan: Plan) -> bool:
    """Returns whether `training.pretrain` would go on with a workdir of this config."""
    apart = {name for name, *_ in differences(up_to_date(config), _here(config, run, plan))}
    return apart <= {"fingerprints.stylizer_precision"}


def make_record(
    run: Run,
    plan: Plan,
    config: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    seconds: Mapping[str, float],
    finished: str,
) -> dict[str, Any]:
    """Makes the record of a run.

    Args:
        run: the run.
        plan: the study.
        config: the content of its `config.json`.
        results: {name of an evaluation: its result}.
        seconds: {"training", "evaluation"}.
        finished: the time, as text.
    """
    by_name = {e.name: e for e in plan.evaluations}
    evaluations = {
        name: {
            **{k: without_folders(v) for k, v in result.items() if k not in LEFT_OUT},
            **identity(by_name[name]),
            "listings": dict(plan.data[name].listings),
        }
        for name, result in results.items()
    }
    return {
        "arm": run.arm,
        "seed": run.seed,
        "config": without_folders(config),
        "evaluations": evaluations,
        "seconds": dict(seconds),
        "finished": finished,
    }


def valid_results(record: Mapping[str, Any], plan: Plan) -> dict[str, dict[str, Any]]:
    """Returns {name: result} of the study's evaluations that a record has.

    A result does not count if it is of another protocol, of other settings or images, of an earlier
    revision of the evaluation, or of an earlier preparation of images. It counts under whatever
    name the record has it.
    """
    found = {}
    for evaluation in plan.evaluations:
        expected = {
            **identity(evaluation),
            "listings": dict(plan.data[evaluation.name].listings),
            "revision": revision_of(evaluation.settings.evaluation),
            "preparation": PREPARATION,
        }
        for result in record.get("evaluations", {}).values():
            # Records of before have URLs whole.
            if all(
                without_folders(result.get(k)) == without_folders(v) for k, v in expected.items()
            ):
                found[evaluation.name] = result
    return found


def of_encoder(record: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {name: result} of a record that are of the same encoder as those of a later one."""
    encoders = {result.get("encoder_fingerprint") for result in made["evaluations"].values()}
    return {
        name: result
        for name, result in record.get("evaluations", {}).items()
        if not encoders or {result.get("encoder_fingerprint")} == encoders
    }


def measures(evaluation: Evaluation, result: Mapping[str, Any]) -> dict[str, float]:
    """Returns {name: value} of what an evaluation measured: its metric first, then its details.

    Args:
        evaluation: the evaluation.
        result: its result. A metric without a value (None) is left out.
    """
    found = {evaluation.metric: result.get(evaluation.metric)}
    for key in evaluation.settings.DETAILS:
        detail = result.get(key)
        parts = detail if isinstance(detail, Mapping) else {key.replace("_", " "): detail}
        for name, part in parts.items():
            found[name] = part[evaluation.metric] if isinstance(part, Mapping) else part
    return {name: value for name, value in found.items() if value is not None}


def versions_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the parts of a record that name their "versions": its evaluations, each its own.

    Earlier records have them once.
    """
    return [part for part in (record, *record["evaluations"].values()) if "versions" in part]


def missing(run: Run, plan: Plan, results: pathlib.Path) -> list[str]:
    """Returns the names of the evaluations that the record of a run lacks."""
    _, record = record_of(run, plan, results)
    done = valid_results(record, plan)
    return [e.name for e in plan.evaluations if e.name not in done]


def others(plan: Plan, results: pathlib.Path) -> list[str]:
    """Returns the records, as ARM/SEED, that are not part of the study; they are kept."""
    own = {record_of(run, plan, results)[0] for run in plan.runs}
    files = sorted(file for file in results.glob("*/[!.]*.json") if file not in own)
    return [f"{file.parent.name}/{file.stem}" for file in files]


def training_seconds(folder: pathlib.Path) -> float:
    """Returns how long the steps of a run took, all its starts together."""
    total, before = 0.0, 0
    for row in read_metrics(folder):
        if row["step"] > before and np.isfinite(row.get("step_seconds", np.nan)):
            total += (row["step"] - before) * row["step_seconds"]
            before = row["step"]
    return total
