"""Long parts of an evaluation are remembered, so that one that is broken off goes on from there."""

import json
import pathlib

from sassl_tf.checked import cached, read_json, write_json
from sassl_tf.datasets.dataset import fingerprint_of


def remembered(folder, key, compute):
    """What `compute()` gives, or gave when this was last called with the same key.

    What was kept and is damaged is computed again, with a warning.

    Args:
        folder: where what was computed is kept, a JSON file each.
        key: dict of all that the outcome depends on, of what JSON knows.
        compute: function of no arguments to what JSON knows.
    """
    file = pathlib.Path(folder) / f"{fingerprint_of(json.dumps(key, sort_keys=True))}.json"
    found = cached(read_json, file)
    if found is not None:
        return found["outcome"]
    outcome = compute()
    write_json(file, {"key": key, "outcome": outcome}, indent=1)
    return outcome
