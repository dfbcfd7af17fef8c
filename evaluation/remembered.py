"""A memory on disk for the long parts of an evaluation, so that a broken-off one continues."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sassl_tf.checked import cached, read_json, write_json
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike


def remembered(folder: PathLike, key: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
    """Returns `compute()`, or what it returned when this was last called with the same key.

    A damaged file is computed again, with a warning.

    Args:
        folder: where outcomes are kept, each in a JSON file.
        key: a dict of everything that the outcome depends on, of types that JSON has.
        compute: a function without arguments that returns types that JSON has.
    """
    file = as_path(folder) / f"{fingerprint_of(json.dumps(key, sort_keys=True))}.json"
    kept = cached(read_json, file)
    if kept is not None:
        return kept["outcome"]
    outcome = compute()
    write_json(file, {"key": key, "outcome": outcome}, indent=1)
    return outcome
