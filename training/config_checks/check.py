"""Checks a whole pretraining config."""

from collections.abc import Iterator
from typing import Any

import ml_collections

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from training.config_checks.combinations import TOGETHER
from training.config_checks.fields import FIELDS, METHOD, VIEW
from training.methods import METHODS

FREE = ("encoder.arguments.",)  # arguments of the encoder's own function


def check_config(config: ml_collections.ConfigDict) -> None:
    """Checks a whole config before anything starts.

    Args:
        config: a ConfigDict, as those of `training/configs`.

    Raises:
        ValueError: fields are out of range, missing or unknown, or do not go together; the message
            lists all problems.
    """
    problems = list(_problems(config))
    if problems:
        one = len(problems) == 1
        listed = problems[0] if one else "".join(f"\n  {line}" for line in problems)
        raise UserError(f"The config cannot be run: {listed}")


def fields(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) of each field of a config."""
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _problems(config):
    given, rules = dict(fields(config)), _rules(config)
    checked = {name: rules[name].problem(name, given[name]) for name in given if name in rules}
    yield from filter(None, checked.values())
    for name in given:
        if name not in rules and not name.startswith(FREE):
            yield f"{name} is not a field of a config.{nearest(name, rules)}"
    for name, rule in rules.items():
        if name not in given:
            yield f"{name} is missing; expected {rule.expected}."
    for names, rule in TOGETHER:
        in_order = all(name in checked and not checked[name] for name in names)
        if in_order and (problem := rule(config)):
            yield problem


def _rules(config):
    """Returns `FIELDS` and the rules for the sections of methods and views that a config has."""
    sections = [name for name in METHODS if name in config]
    own = {f"{name}.{field}": rule for name in sections for field, rule in METHOD[name].items()}
    if "local" in config.get("views", {}):
        own.update({f"views.local.{field}": rule for field, rule in VIEW.items()})
    return {**FIELDS, **own}
