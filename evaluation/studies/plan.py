"""The plan of a study: its file, checked whole before the first run starts."""

import dataclasses
import functools
import json
import pathlib
import re
import runpy
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import ml_collections

from evaluation.evaluate import Data, check_data, parse_evaluations
from evaluation.evaluations import Evaluation
from sassl_tf.datasets import ImageDataset, load_dataset
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from training.config_checks.check import check_config, fields
from training.configs.earlier import as_written
from training.engine.assembly import fingerprints, initial_fingerprints, style_fingerprints
from training.styles import NONE, build_augmentation, style_of

ROOT = pathlib.Path(__file__).parents[2]
KEYS = ("config", "changes", "arms", "seeds", "evaluations")
TYPES: dict[str, tuple[Any, str]] = {
    "config": (str, "a text, FILE.py:PRESET"),
    "changes": (Mapping, "a dict, {field: value}"),
    "arms": ((list, tuple), "a list of (name, {field: value})"),
    "seeds": ((list, tuple, range), "a list of whole numbers"),
    "evaluations": ((list, tuple), "a list of texts"),
}
_ARM = re.compile(r"\w[\w.+-]{0,59}")


@dataclasses.dataclass(frozen=True)
class Run:
    """One pretraining of a study.

    Attributes:
        arm: the name of its arm.
        seed: its seed.
        config_file: its config, as --config of `training.pretrain` takes it.
        changes: {dotted field: value}, those of the study and of the arm.
        config: the whole config, a ConfigDict.
    """

    arm: str
    seed: int
    config_file: str
    changes: Mapping[str, Any]
    config: ml_collections.ConfigDict

    @property
    def name(self) -> str:
        """The run's name in lines for people."""
        return f"{self.arm}, seed {self.seed}"


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A study whose fields have been checked.

    Attributes:
        file: the study file, as a command takes it; "" for a study from Python.
        arms: the names of the arms; the first is the baseline.
        seeds: the seeds.
        runs: all runs, seed by seed.
        evaluations: what each run is evaluated by.
        dataset: the images that all runs are trained on.
        data: {name of an evaluation: what is known of its images}.
    """

    file: str
    arms: Sequence[str]
    seeds: Sequence[int]
    runs: Sequence[Run]
    evaluations: Sequence[Evaluation]
    dataset: ImageDataset
    data: Mapping[str, Data]

    @property
    def baseline(self) -> str:
        """The name of the arm that the others are compared with."""
        return self.arms[0]

    def evaluation(self, name: str) -> Evaluation:
        """Returns the evaluation of a name."""
        return next(evaluation for evaluation in self.evaluations if evaluation.name == name)


def read_study(argument: str) -> dict[str, Any]:
    """Returns what `get_study` of a study file returns.

    Args:
        argument: FILE.py, or FILE.py:TEXT to call `get_study(TEXT)`.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    file, colon, text = argument.partition(":")
    return _call(file, "get_study", [text] if colon else [])


def make_plan(study: Mapping[str, Any], file: str = "") -> Plan:
    """Checks a study and everything that it names.

    Args:
        study: {"config": FILE.py:PRESET, "changes": {dotted field: value}, "arms": a list of (name,
            changes), of which the first is the baseline, "seeds": a list of int, "evaluations": a
            list for `evaluation.evaluate.parse_evaluation`}. "changes" may be left out.
        file: the study file, for commands.

    Raises:
        UserError: it is no mapping, a key is missing, unknown or of another type, an arm names no
            field of the config or has the name or the config of another, a seed is given twice, a
            config cannot be run, or images are missing.
    """
    if not isinstance(study, Mapping):
        raise UserError(f"A study is a dict with {_listed(KEYS)}; {study!r} was given.")
    study = {"changes": {}, **study}
    for key in study:
        if key not in KEYS:
            raise UserError(f"A study has no {key!r}.{nearest(key, KEYS)} It has {_listed(KEYS)}.")
    for key in KEYS:
        if key not in study:
            raise UserError(f"The study has no {key!r}; expected {_listed(KEYS)}.")
    for key, (kind, words) in TYPES.items():
        if not isinstance(study[key], kind):
            raise UserError(f"{key!r} is {study[key]!r}; expected {words}.")
    arms, seeds = _checked_arms(study["arms"]), _checked_seeds(study["seeds"])
    evaluations = parse_evaluations(study["evaluations"])
    if not evaluations:
        raise UserError("The study has no evaluations; give one or more.")
    config_file = config_path(study["config"])
    runs = [
        make_run(arm, seed, config_file, {**study["changes"], **changes})
        for seed in seeds
        for arm, changes in arms.items()
    ]
    _check_different(runs[: len(arms)])
    first = runs[0].config
    for run in runs:
        if (run.config.dataset, run.config.data_dir) != (first.dataset, first.data_dir):
            raise UserError(
                f"The arm {run.arm} is trained on {run.config.dataset} and {runs[0].arm} on "
                f"{first.dataset}; one study compares runs on the same images."
            )
    data_dir = first.data_dir or None
    return Plan(
        file=file,
        arms=[*arms],
        seeds=seeds,
        runs=runs,
        evaluations=evaluations,
        dataset=load_dataset(first.dataset, "train", data_dir),
        data=check_data(evaluations, data_dir),
    )


def config_path(argument: str) -> str:
    """Returns FILE.py:PRESET with a file that exists, here or in this checkout.

    Raises:
        UserError: it does not exist.
    """
    file, colon, preset = argument.partition(":")
    for path in (pathlib.Path(file), ROOT / file):
        if path.is_file():
            return f"{path}{colon}{preset}"
    raise UserError(f"The study's config is {argument!r}, and there is no file {file}.")


def make_run(arm: str, seed: int, config_file: str, changes: Mapping[str, Any]) -> Run:
    """Builds the config of a run.

    Raises:
        UserError: a change names no field or has the wrong type, or the config cannot be run.
    """
    file, colon, preset = config_file.partition(":")
    config = _call(file, "get_config", [preset] if colon else [])
    known = [name for name, _ in fields(config)]
    for name, value in changes.items():
        if name == "seed":
            raise UserError(f"The arm {arm} changes the seed; seeds are a list of the study.")
        if name not in known:
            raise UserError(
                f"The arm {arm} changes {name}, which is no field of {config_file}."
                f"{nearest(name, known)}"
            )
        try:
            config.update_from_flattened_dict({name: value})
        except (TypeError, ValueError) as error:
            raise UserError(
                f"The arm {arm} sets {name} to {value!r}, which is not possible: {error}"
            ) from error
    config.seed = seed
    try:
        check_config(config)
    except UserError as error:
        raise UserError(f"The arm {arm}: {error}") from error
    return Run(arm, seed, config_file, changes, config)


def run_fingerprints(run: Run, dataset: ImageDataset) -> dict[str, Any]:
    """Returns the fingerprints of a run, as its `config.json` will have them."""
    config, style = run.config, style_of(run.config)
    chosen: dict[str, Any] = {
        "style": style,
        "augment_on": config.augment_on,
        "precision": config.precision,
    }
    if style != NONE:
        chosen[style] = json.loads(config[style].to_json())
    if style == "sassl":
        chosen[style]["enabled"] = True
    return {
        **fingerprints(dataset, None),
        **_style_fingerprints(json.dumps(chosen)),
        **_initial_fingerprints(config.encoder.init_from),
    }


@functools.lru_cache(maxsize=64)
def _initial_fingerprints(init_from: str) -> dict[str, str]:
    """Returns the fingerprint of the weights that a run starts from; none if they are gone."""
    try:
        return initial_fingerprints(init_from)
    except UserError:
        return {}


@functools.lru_cache(maxsize=64)
def _style_fingerprints(chosen: str) -> dict[str, str]:
    config = json.loads(chosen)
    if config["style"] == NONE:
        return {}
    prints = style_fingerprints(build_augmentation(ml_collections.ConfigDict(config)))
    keras.utils.clear_session()  # the networks are not needed any more
    return prints


def _call(file: str, function: str, arguments: Sequence[Any]) -> Any:
    """Runs a Python file and calls one of its functions.

    Raises:
        UserError: there is no such file or function, or it fails.
    """
    if not pathlib.Path(file).is_file():
        raise UserError(f"There is no file {file}; expected a Python file with {function}().")
    try:
        content = runpy.run_path(file)
        if function not in content:
            raise UserError(f"{file} has no function {function}().")
        return content[function](*arguments)
    except UserError:
        raise
    except Exception as error:  # whatever the user's own code raises
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        where = f", line {lines[-1]}" if lines else ""
        raise UserError(f"{file}{where}: {type(error).__name__}: {error}") from error


def _checked_arms(arms: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Mapping[str, Any]]:
    checked: dict[str, Mapping[str, Any]] = {}
    for arm in arms:
        shaped = isinstance(arm, (tuple, list)) and len(arm) == 2 and isinstance(arm[1], Mapping)
        if not shaped:
            raise UserError(f"An arm is {arm!r}; expected (name, {{field: value}}).")
        name, changes = arm
        if not isinstance(name, str) or not _ARM.fullmatch(name):
            raise UserError(
                f"An arm's name is {name!r}; expected a letter, a digit or _, and up to 59 more, "
                "also of . + -."
            )
        if name in checked:
            raise UserError(f"Two arms have the name {name}; rename one.")
        checked[name] = changes
    if len(checked) < 2:
        raise UserError(f"The study has {len(checked)} arms; expected a baseline and others.")
    return checked


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    seeds = [*seeds]
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise UserError(f"A seed is {seed!r}; expected a whole number, 0 or greater.")
        if seeds.count(seed) > 1:
            raise UserError(f"The seed {seed} is given twice; runs of one seed are all the same.")
    if not seeds:
        raise UserError("The study has no seeds; give one or more.")
    return seeds


def _check_different(runs: Sequence[Run]) -> None:
    """Raises a UserError if two arms have the same config."""
    seen: dict[str, str] = {}
    for run in runs:
        other = seen.setdefault(json.dumps(as_written(run.config), sort_keys=True), run.arm)
        if other != run.arm:
            raise UserError(f"The arms {other} and {run.arm} have the same config; leave one out.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
