r"""Shape bias: does an encoder go by shape or by texture where the two contradict each other?

    python -m evaluation.shape_bias --encoder=runs/simclr --dataset=folder:imagenet2012 \
        --cue_conflict=cue-conflict

The images of Geirhos et al. 2019 (arXiv 1811.12231; rgeirhos/texture-vs-shape, stimuli
`style-transfer-preprocessed-512`) show the shape of one category with the texture of another:
`CATEGORY/SHAPE7-TEXTURE2.png`, 16 categories. A linear probe is trained on the categories of a
labelled dataset, with L2 chosen on 20 % of each class of the train split, drawn once; then

    shape bias = decisions for the shape / (decisions for the shape + for the texture).

Decisions for neither do not count. `--categories` says which classes of the dataset a category has:
by default the ImageNet classes (as WordNet ids) of the source's human_categories.py, and those of
CIFAR-10 and Caltech-101 that fit, of our choice; else a JSON file such as
`{"car": ["sports_car"], "boat": ["canoe", "yacht"]}`. Of the images those are used
whose two categories are both there. (The source adds up an ImageNet classifier's probabilities
within each category; here the probe learns the categories themselves.)

Results go to `shape_bias-DATASET.json` in the workdir.
"""

import json
import os
import pathlib
import re

import numpy as np
import tensorflow as tf
from absl import flags

from evaluation.encoders import load_encoder
from evaluation.flags import define_encoder_flags, encoder_arguments, tell_next
from evaluation.frozen import frozen_features, write_result
from evaluation.linear_probe import (
    L2_VALUES,
    VALIDATION_SHARE,
    fit_logistic_regression,
    select_l2,
    stratified_split,
)
from sassl_tf.datasets import load_dataset
from sassl_tf.datasets.dataset import ImageDataset, fingerprint_of, on_host
from sassl_tf.datasets.decoding import decode_image
from sassl_tf.errors import UserError
from sassl_tf.representation.features import extract_features
from training.command import binary

CATEGORIES = pathlib.Path(__file__).parent / "cue_conflict_categories.json"
_NAME = re.compile(r"([a-z]+)\d+-([a-z]+)\d+")


def cue_conflict_images(path):
    """The cue-conflict images of a folder.

    Returns:
        An `ImageDataset` without labels, and the categories of shape and of texture, two lists of
        str; images whose two categories are the same are left out.

    Raises:
        ValueError: there is no such image.
    """
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
    paths = on_host(np.array([os.fsencode(file) for file in files], object))
    stats = [(file.name, file.stat()) for file in files]
    held = [part for name, s in stats for part in (name, s.st_size, s.st_mtime_ns)]
    dataset = ImageDataset(
        name=f"cue conflict in {root}",
        split="test",
        class_names=[],
        labels=np.full(len(files), -1),
        fingerprint=fingerprint_of("cue conflict", *held),
        read=lambda index: decode_image(tf.io.read_file(tf.gather(paths, index))),
    )
    return dataset, shapes, textures


def shape_bias(decisions, shapes, textures):
    """Counts decisions, all three lists of N categories.

    Returns:
        {"shape_bias", "shape_decisions", "texture_decisions", "other_decisions", "by_category"};
        the bias is None where no decision was for either, and `by_category` has the same for the
        images of each shape.
    """
    counted = _count(decisions, shapes, textures)
    rows = list(zip(decisions, shapes, textures, strict=True))
    counted["by_category"] = {
        category: _count(*zip(*(row for row in rows if row[1] == category), strict=True))
        for category in sorted(set(shapes))
    }
    return counted


def category_labels(labels, class_names, categories):
    """Which images belong to a category, and to which.

    Args:
        labels: int [N], of the dataset.
        class_names: of the dataset.
        categories: {category: class names}.

    Returns:
        Indices of the images that have one, and their categories, str [M].

    Raises:
        ValueError: fewer than two categories occur.
    """
    category_of = {name: category for category, names in categories.items() for name in names}
    found = np.array([category_of.get(name, "") for name in class_names])[labels]
    members = np.flatnonzero(found != "")
    present = sorted(set(found[members].tolist()))
    if len(present) < 2:
        raise UserError(
            f"Of the categories {', '.join(categories)} the dataset has {present or 'none'}; two "
            f"or more are needed. Its classes are {', '.join(class_names[:8])}, ...: say in a "
            "JSON file which of them belong to a category, and give it as --categories."
        )
    return members, found[members]


def evaluate(
    encoder_path,
    dataset_spec,
    cue_conflict,
    *,
    categories=CATEGORIES,
    l2_values=L2_VALUES,
    **preparation,
):
    """Measures the shape bias of an encoder and writes the result.

    Args:
        encoder_path: and `dataset_spec` as for `evaluation.frozen.frozen_features`.
        cue_conflict: the folder of the cue-conflict images.
        categories: a JSON file, {category: class names of the dataset}.
        l2_values: the values of L2 to choose from.
        **preparation: the options of `frozen_features`: `data_dir`, `workdir`, ...

    Returns:
        The content of `shape_bias-DATASET.json`, a dict.

    Raises:
        ValueError: no cue-conflict images, or fewer than two categories in the dataset.
    """
    images, shapes, textures = cue_conflict_images(cue_conflict)
    known = _read_categories(categories)
    names = load_dataset(dataset_spec, "train", preparation.get("data_dir")).class_names
    category_labels(np.arange(len(names)), names, known)  # before the features, which take long
    frozen = frozen_features(encoder_path, dataset_spec, **preparation)
    members, wanted = category_labels(frozen.train_labels, frozen.class_names, known)
    features = frozen.train_features[members]
    fitted, held_out = stratified_split(wanted, VALIDATION_SHARE, seed=0)
    l2, _, _ = select_l2(features, wanted, fitted, held_out, l2_values)
    classifier = fit_logistic_regression(features, wanted, l2)

    present = set(wanted)
    pairs = enumerate(zip(shapes, textures, strict=True))
    used = [i for i, pair in pairs if present.issuperset(pair)]
    if not used:
        raise UserError(
            f"No cue-conflict image has both categories among {', '.join(sorted(present))}."
        )
    cue_features = extract_features(
        load_encoder(encoder_path),
        images,
        frozen.facts["image_size"],
        cache_dir=frozen.workdir / "features",
        crop_proportion=frozen.facts["crop_proportion"],
    )
    decisions = classifier.predict(cue_features[used])
    counted = shape_bias(decisions.tolist(), [shapes[i] for i in used], [textures[i] for i in used])
    outcome = {
        **counted,
        "categories": sorted(present),
        "cue_conflict_images": len(used),
        "l2": l2,
    }
    return write_result("shape_bias", frozen, outcome)


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


def main(_):
    values = flags.FLAGS
    arguments = encoder_arguments()
    _report(evaluate(**arguments, cue_conflict=values.cue_conflict, categories=values.categories))
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    flags.DEFINE_string("cue_conflict", None, "Folder of the cue-conflict images.", required=True)
    flags.DEFINE_string(
        "categories",
        str(CATEGORIES),
        "JSON file, {category: [class of the dataset, ...]}.",
    )
    binary.run(main)
