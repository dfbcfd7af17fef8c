"""Paths in files for others: the last part alone, and what is public whole."""

import types

import pytest

from evaluation.evaluate import Data, parse_evaluations
from evaluation.folders import without_folders
from evaluation.studies.records import identity, valid_results
from sassl_tf.representation.features import PREPARATION


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/x/y.npz", "y.npz"),
        ("~/runs/simclr/", "simclr"),
        ("folder:/home/me/pets/", "folder:pets"),
        ("folder:pets/", "folder:pets"),
        ("folder:folder:pets", "folder:pets"),  # as earlier records have it
        ("voc:/home/x/VOC2012", "voc:VOC2012"),
        ("records:/data/pets-{split}-*", "records:pets-{split}-*"),
        ("folder:gs://bucket/private", "folder:private"),
        ("gs://bucket/private/a.keras", "a.keras"),
        ("https://host/private/model", "model"),
        ("/a:b/c", "c"),
    ],
)
def test_a_path_is_cut_to_its_last_part(text, expected):
    assert without_folders(text) == expected == without_folders(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("tfds:imagenet2012_subset/1pct", "hf://owner/name@v1", "kaggle://owner/model/keras/1"),
        *("shapes", "folder:pets", "package.module:function", ""),
    ],
)
def test_what_is_public_or_no_path_stays(text):
    assert without_folders(text) == text


def test_within_lists_and_dicts():
    value = {"a": ("/b/c", 1, None), "folder:/x/art": {"n": 2}, "folder:/y/art": 3}
    expected = {"a": ["c", 1, None], "folder:art": {"n": 2}, "folder:art 2": 3}
    assert without_folders(value) == expected


def test_records_of_before_still_count():
    """They had URLs whole."""
    [evaluation] = parse_evaluations(["near=knn on folder:gs://bucket/pets --k=3"])
    made = {"listings": {"train": "ab"}, "revision": 1, "preparation": PREPARATION}
    result = {**identity(evaluation), **made}
    assert result["dataset"] == "folder:pets"
    data = {"near": Data({"train": "ab"}, None)}
    plan = types.SimpleNamespace(evaluations=[evaluation], data=data)
    for dataset in ("folder:gs://bucket/pets", "folder:pets"):
        record = {"evaluations": {"near": {**result, "dataset": dataset}}}
        assert [*valid_results(record, plan)] == ["near"]
    record = {"evaluations": {"near": {**result, "dataset": "folder:cars"}}}
    assert not valid_results(record, plan)
