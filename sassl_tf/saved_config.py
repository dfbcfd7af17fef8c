"""Configs of saved layers, which may come from untrusted files: each value is checked."""

from collections.abc import Mapping
from typing import Any

from sassl_tf.errors import UserError


def fields(config: Any, kinds: Mapping[str, type | tuple[type, ...]], what: str) -> list[Any]:
    """Returns values of a config, after a check of their types.

    Args:
        config: what should be a dict.
        kinds: {key: type, or a tuple of types}.
        what: whose config it is, for the error.

    Returns:
        The values, in the order of `kinds`.

    Raises:
        ValueError: lists what is missing, and what is of another type.
    """
    if not isinstance(config, dict):
        raise UserError(f"The saved config of {what} is a {type(config).__name__}, not a dict.")
    problems = [
        f"{key} is missing" if key not in config else f"{key} is a {type(config[key]).__name__}"
        for key, kind in kinds.items()
        if key not in config or not isinstance(config[key], kind)
    ]
    if problems:
        raise UserError(
            f"The saved config of {what} is damaged or was changed: {', '.join(problems)}."
        )
    return [config[key] for key in kinds]
