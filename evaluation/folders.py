"""Files for others, such as presets and records of studies, without the folders of a machine."""

import re
from collections.abc import Mapping
from typing import Any

# What is the same on every machine: names of TFDS, and addresses on hubs.
PUBLIC = ("tfds:", "hf://", "kaggle://")


def without_folders(value: Any) -> Any:
    """Returns a value of JSON with the last part of each path alone: "folder:a/b" is "folder:b".

    Of URLs too, such as "folder:gs://bucket/b". `PUBLIC` names stay whole. The keys of a dict are
    cut as well; of two that become the same, the second ends with " 2".

    Args:
        value: of JSON's types; tuples become lists.
    """
    if isinstance(value, Mapping):
        return _with_keys(value)
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    return _last_part(value) if isinstance(value, str) else value


def _with_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    cut: dict[str, Any] = {}
    for key, item in value.items():
        name, number = without_folders(key), 1
        while name in cut:
            number += 1
            name = f"{without_folders(key)} {number}"
        cut[name] = without_folders(item)
    return cut


def _last_part(text: str) -> str:
    if text.startswith(PUBLIC):
        return text
    # Earlier records have "folder:folder:a" for "folder:a/".
    text = re.sub(r"^(\w+:)\1", r"\1", text)
    kind = re.sub(r"^(\w+:(?!//))?.*", r"\1", text, flags=re.DOTALL)  # such as "folder:"
    return kind + text.removeprefix(kind).rstrip("/").rpartition("/")[-1]
