"""Long parts of an evaluation are remembered, so that one that is broken off goes on from there."""

import json
import pathlib

from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.files import replacing


def remembered(folder, key, compute):
    """What `compute()` gives, or gave when this was last called with the same key.

    Args:
        folder: where what was computed is kept, a JSON file each.
        key: dict of all that the outcome depends on, of what JSON knows.
        compute: function of no arguments to what JSON knows.
    """
    file = pathlib.Path(folder) / f"{fingerprint_of(json.dumps(key, sort_keys=True))}.json"
    if file.is_file():
        return json.loads(file.read_text())["outcome"]
    outcome = compute()
    with replacing(file) as beside:
        beside.write_text(json.dumps({"key": key, "outcome": outcome}, indent=1) + "\n")
    return outcome
