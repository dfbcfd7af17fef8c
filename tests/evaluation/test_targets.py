"""The datasets of the paper, and how targets are named."""

import pytest
import tensorflow_datasets

from evaluation.targets import PAPER, TARGETS, Target, targets_of


def test_the_papers_targets_are_datasets_of_tfds():
    known = set(tensorflow_datasets.list_builders(with_community_datasets=False))
    assert len(PAPER) == 11
    for name, target in TARGETS.items():
        builder, _, config = target.spec.removeprefix("tfds:").partition("/")
        assert target.name == name and (builder in known or target.by_hand)
        if config:
            configs = tensorflow_datasets.builder_cls(builder).BUILDER_CONFIGS
            assert config in [one.name for one in configs]
    by_class = {n for n, t in TARGETS.items() if t.metrics == ("mean_per_class_accuracy",)}
    assert by_class == {"caltech101", "flowers", "pets", "aircraft"}
    assert TARGETS["retinopathy"].metrics == ("accuracy", "quadratic_kappa")
    assert {n for n, t in TARGETS.items() if t.crop_proportion < 1} == {"imagenet_1pct", "inat21"}


def test_names_of_targets():
    assert [target.name for target in targets_of(["paper"])] == [*PAPER]
    assert targets_of(["pets", "folder:a", "shapes"])[1:] == [Target("folder:a"), Target("shapes")]
    mixed = {target.name: target.spec for target in targets_of(["paper", "inat21=folder:i"])}
    assert [*mixed] == [*PAPER] and mixed["inat21"] == "folder:i" and mixed["dtd"] == "tfds:dtd"
    [cars] = targets_of(["cars=folder:a/b=c"])
    assert (cars.name, cars.spec, cars.by_hand) == ("cars", "folder:a/b=c", "")
    assert cars.crop_proportion == 1.0
    assert targets_of(["folder:a/b=c"]) == [Target("folder:a/b=c")]
    for name in ("dtdd", "paper=folder:a", "shapes=folder:a"):
        with pytest.raises(ValueError, match=f"no target '{name.partition('=')[0]}'"):
            targets_of([name])
