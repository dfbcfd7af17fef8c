r"""Shape bias: the share of decisions by shape where shape and texture contradict each other.

    python -m evaluation.shape_bias --encoder=runs/simclr --dataset=folder:imagenet2012 \
        --cue_conflict=cue-conflict

The images of Geirhos et al. 2019 (arXiv 1811.12231; rgeirhos/texture-vs-shape, stimuli
`style-transfer-preprocessed-512`) show the shape of one category with the texture of another:
`CATEGORY/SHAPE7-TEXTURE2.png`, 16 categories. A linear probe is trained on the categories of a
labelled dataset, with L2 chosen on 20 % of each class of the train split, drawn once; then

    shape bias = decisions for the shape / (decisions for the shape + for the texture).

Decisions for neither do not count. `--categories` names the classes of the dataset that belong to
each category. By default these are the ImageNet classes (as WordNet ids) of the source's
human_categories.py, and classes of CIFAR-10 and Caltech-101 that we chose; another JSON file has
the form `{"car": ["sports_car"], "boat": ["canoe", "yacht"]}`. An image is used if both of its
categories occur. (The source adds up an ImageNet classifier's probabilities within each category;
here the probe learns the categories themselves.)

Results go to `shape_bias-DATASET-HASH.json` in the workdir.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from evaluation.flags import define_flags, evaluate_from_flags
from evaluation.linear_probe import (
    L2_VALUES,
    VALIDATION_SHARE,
    select_l2,
    stratified_split,
)
from evaluation.logistic_regression import fit_logistic_regression
from evaluation.results import write_result
from evaluation.settings import REQUIRED, EvaluationSettings, option
from evaluation.subject import Subject
from sassl_tf.datasets.dataset import ImageDataset, fingerprint_of, on_host
from sassl_tf.datasets.decoding import decode_image
from sassl_tf.datasets.folder import damaged_files, undecodable
from sassl_tf.errors import UserError
from sassl_tf.typing import PathLike
from training.command import binary

CATEGORIES = pathlib.Path(__file__).parent / "cue_conflict_categories.json"
METRIC = "shape_bias"  # the key of the result that counts
_NAME = re.compile(r"([a-z]+)\d+-([a-z]+)\d+")


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of the shape bias.

    Attributes:
        cue_conflict: the folder of the cue-conflict images.
        categories: a JSON file, {category: class names of the dataset}.
    """

    name = "shape_bias"
    cue_conflict: str = option(
        flags.DEFINE_string, REQUIRED, "The folder of the cue-conflict images."
    )
    categories: str = option(
        flags.DEFINE_string,
        str(CATEGORIES),
        "A JSON file of the form {category: [class of the dataset, ...]}.",
    )

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        _, shapes, textures = cue_conflict_images(self.cue_conflict)
        categories = _read_categories(self.categories)
        _, category = category_labels(train.labels, train.class_names, categories)
        _usable(shapes, textures, set(category))
        stratified_split(category, VALIDATION_SHARE, seed=0)

    def listings(self) -> dict[str, str]:
        files, _, _ = _named(self.cue_conflict)
        categories = json.dumps(_read_categories(self.categories), sort_keys=True)
        return {"cue_conflict": _listing(files), "categories": fingerprint_of(categories)}

    def recorded(self, subject: Subject) -> dict[str, Any]:
        return {"listings": self.listings()}  # the same wherever the files lie


def cue_conflict_images(path: PathLike) -> tuple[ImageDataset, list[str], list[str]]:
    """Reads the list of the cue-conflict images of a folder.

    Returns:
        An `ImageDataset` without labels, and the categories of shape and of texture, two lists of
        str. Images whose two categories are the same are left out.

    Raises:
        ValueError: there is no such image, or some cannot be decoded.
    """
    files, shapes, textures = _named(path)
    return _dataset(pathlib.Path(path).expanduser(), files), shapes, textures


def _named(path):
    """Returns the files of the cue-conflict images, and their categories of shape and texture."""
    root = pathlib.Path(path).expanduser()
    files, shapes, textures = [], [], []
    for file in sorted(root.glob("*/*")):
        named = _NAME.fullmatch(file.stem)
        if named and named[1] != named[2] and not file.name.startswith("."):
            files.append(file)
            shapes.append(named[1])
            textures.append(named[2])
    if not files:
        raise UserError(
            f"There are no cue-conflict images in {root}: expected files such as "
            "cat/cat4-truck2.png (rgeirhos/texture-vs-shape, stimuli)."
        )
    return files, shapes, textures


def _listing(files):
    names_sizes = [part for file in files for part in (file.name, file.stat().st_size)]
    return fingerprint_of("cue conflict", *names_sizes)


def _dataset(root, files):
    paths = on_host(np.array([os.fsencode(file) for file in files], object))
    if unreadable := [files[i] for i in undecodable(paths)]:
        raise UserError(
            f"{len(unreadable)} of the {len(files)} cue-conflict images cannot be decoded: "
            f"{', '.join(map(str, unreadable[:5]))}. Copy them again."
        )
    stats = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    held = [part for file, stat in zip(files, stats, strict=True) for part in (file.name, *stat)]
    return ImageDataset(
        name=f"cue conflict in {root}",
        split="test",
        class_names=[],
        labels=np.full(len(files), -1),
        fingerprint=fingerprint_of("cue conflict", *held),
        listing=_listing(files),
        read=lambda index: decode_image(tf.io.read_file(tf.gather(paths, index))),
        damaged=functools.partial(damaged_files, paths, np.array(stats, np.int64)),
    )


def shape_bias(
    decisions: Sequence[str], shapes: Sequence[str], textures: Sequence[str]
) -> dict[str, Any]:
    """Counts decisions for the shape, for the texture and for neither.

    Args:
        decisions: a list of N categories, those that were decided for.
        shapes: a list of N categories, those of the shapes.
        textures: a list of N categories, those of the textures.

    Returns:
        {"shape_bias", "shape_decisions", "texture_decisions", "other_decisions", "by_category"}.
        The bias is None if no decision was for either, and `by_category` has the same counts for
        the images of each shape.
    """
    counts = _count(decisions, shapes, textures)
    rows = list(zip(decisions, shapes, textures, strict=True))
    counts["by_category"] = {
        category: _count(*zip(*(row for row in rows if row[1] == category), strict=True))
        for category in sorted(set(shapes))
    }
    return counts


def category_labels(
    labels: np.ndarray, class_names: Sequence[str], categories: Mapping[str, Sequence[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the images that belong to a category.

    Args:
        labels: int [N], indices into `class_names`.
        class_names: the names of the dataset's classes.
        categories: {category: class names}.

    Returns:
        The indices [M] of the images that have a category, and their categories, str [M].

    Raises:
        ValueError: fewer than two categories occur.
    """
    category_of = {name: category for category, names in categories.items() for name in names}
    category_or_none = np.array([category_of.get(name, "") for name in class_names])[labels]
    members = np.flatnonzero(category_or_none != "")
    present = sorted(set(category_or_none[members].tolist()))
    if len(present) < 2:
        raise UserError(
            f"Of the categories {', '.join(categories)} the dataset has {present or 'none'}; two "
            f"or more are needed. Its classes are {', '.join(class_names[:8])}, ...: say in a "
            "JSON file which of them belong to a category, and give it as --categories."
        )
    return members, category_or_none[members]


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Measures the shape bias of the encoder and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict.

    Raises:
        ValueError: no cue-conflict images, or fewer than two categories in the dataset.
    """
    images, shapes, textures = cue_conflict_images(settings.cue_conflict)
    categories = _read_categories(settings.categories)
    members, category = category_labels(subject.train.labels, subject.class_names, categories)
    present = set(category)
    usable = _usable(shapes, textures, present)
    classifier, l2 = _category_probe(subject.train_features[members], category)
    decisions = classifier.predict(subject.features(images)[usable])
    outcome = {
        **shape_bias(
            decisions.tolist(), [shapes[i] for i in usable], [textures[i] for i in usable]
        ),
        "categories": sorted(present),
        "cue_conflict_images": len(usable),
        "l2": l2,
    }
    return write_result(subject, settings, outcome)


def _usable(shapes, textures, present):
    """Returns the numbers of the images both of whose categories the dataset has."""
    pairs = enumerate(zip(shapes, textures, strict=True))
    usable = [i for i, pair in pairs if present.issuperset(pair)]
    if not usable:
        raise UserError(
            f"No cue-conflict image has both categories among {', '.join(sorted(present))}."
        )
    return usable


def _category_probe(features, category):
    """Returns a linear classifier of categories, and the L2 that was chosen for it."""
    fitted, held_out = stratified_split(category, VALIDATION_SHARE, seed=0)
    l2, _, _ = select_l2(features, category, fitted, held_out, L2_VALUES)
    return fit_logistic_regression(features, category, l2), l2


def _read_categories(file):
    try:
        return json.loads(pathlib.Path(file).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"The categories in {file} could not be read ({error}); expected a JSON file such as "
            '{"car": ["sports_car"], "boat": ["canoe", "yacht"]}.'
        ) from error


def _count(decisions, shapes, textures):
    shape = sum(d == s for d, s in zip(decisions, shapes, strict=True))
    texture = sum(d == t for d, t in zip(decisions, textures, strict=True))
    return {
        "shape_bias": shape / (shape + texture) if shape + texture else None,
        "shape_decisions": shape,
        "texture_decisions": texture,
        "other_decisions": len(decisions) - shape - texture,
    }


def _report(result):
    print(
        f"Shape bias on {result['cue_conflict_images']} images of {len(result['categories'])} "
        f"categories: {_percent(result['shape_bias'])}\n"
        f"  {result['shape_decisions']} decisions for the shape, {result['texture_decisions']} for "
        f"the texture, {result['other_decisions']} for neither"
    )
    for category, counted in result["by_category"].items():
        print(f"  {category:10} {_percent(counted['shape_bias'])}")


def _percent(share):
    return "no decision for either" if share is None else f"{share:.1%}"


def main(_: list[str]) -> None:
    evaluate_from_flags(Settings, run, _report)


if __name__ == "__main__":
    define_flags(Settings)
    binary.run(main)
