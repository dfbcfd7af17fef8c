"""What every evaluation of a frozen encoder starts from and ends with.

It starts from the features and labels of both splits, and ends with a JSON file that says how to
get the same numbers again.
"""

import contextlib
import dataclasses
import importlib.metadata
import pathlib
import platform
import re

import numpy as np
from sklearn.metrics import accuracy_score, recall_score

from evaluation.encoders import (
    default_image_size,
    encoder_file,
    load_encoder,
    workdir_of,
)
from sassl_tf.checked import write_json
from sassl_tf.datasets import MissingSplit, load_dataset
from sassl_tf.datasets.dataset import fingerprint_of
from sassl_tf.errors import UserError
from sassl_tf.representation.features import (
    CROP_PROPORTION,
    PREPARATION,
    encoder_fingerprint,
    extract_features,
)
from training.engine.workdir import this_command

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")
# Of the evaluations: raise it whenever an evaluation's numbers change. Results of another revision
# are neither taken for done nor compared; those without one are of the first.
REVISIONS = {"linear_probe": 2, "few_shot": 2, "shape_bias": 2, "sgd_probe": 2, "finetune": 2}


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """The splits of a labelled dataset, as an encoder sees them.

    Attributes:
        train_features: float32 [N, D].
        train_labels: int64 [N] in [0, C).
        test_features: float32 [M, D].
        test_labels: int64 [M] in [0, C).
        validation: (features [V, D], labels [V]) of the dataset's own validation split, or None.
        class_names: C names.
        workdir: Path of the folder for results.
        facts: what was evaluated, as a dict for the results file.
    """

    train_features: np.ndarray
    train_labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray
    validation: tuple[np.ndarray, np.ndarray] | None
    class_names: list[str]
    workdir: pathlib.Path
    facts: dict


def frozen_features(
    encoder_path,
    dataset_spec,
    data_dir=None,
    workdir=None,
    image_size=None,
    batch_size=128,
    crop_proportion=CROP_PROPORTION,
):
    """Computes the features of a dataset's splits, or reads them from `workdir/features`.

    Args:
        encoder_path: a `.keras` file or a pretraining workdir.
        dataset_spec: `tfds:NAME`, `folder:PATH` or `shapes`.
        data_dir: the folder of prepared TFDS datasets.
        workdir: the folder for features and results; by default the encoder's own workdir.
        image_size: the side of the images; by default what the encoder was made for.
        batch_size: how many images the encoder sees at a time.
        crop_proportion: of the resized shorter side; see `prepare_image`.

    Returns:
        FrozenFeatures.

    Raises:
        ValueError: no such encoder or dataset, an unlabelled dataset, or no workdir.
    """
    workdir = result_workdir(encoder_path, workdir)
    # The datasets first: what is wrong with them shows sooner than an encoder loads.
    splits = labelled_splits(dataset_spec, data_dir)
    encoder = load_encoder(encoder_path)
    image_size = image_size or default_image_size(encoder_path, encoder)
    train, test, *validation = splits
    train_features, test_features, *validation_features = (
        extract_features(
            encoder,
            split,
            image_size,
            batch_size,
            workdir / "features",
            crop_proportion=crop_proportion,
        )
        for split in splits
    )
    facts = facts_of(encoder_path, encoder, image_size, crop_proportion, dataset_spec, splits)
    return FrozenFeatures(
        train_features=train_features,
        train_labels=train.labels,
        test_features=test_features,
        test_labels=test.labels,
        validation=(validation_features[0], validation[0].labels) if validation else None,
        class_names=train.class_names,
        workdir=workdir,
        facts=facts,
    )


def facts_of(encoder_path, encoder, image_size, crop_proportion, dataset_spec, splits):
    """What is evaluated, as a dict for the results file."""
    train, test, *validation = splits
    return {
        "encoder": str(encoder_path),
        "encoder_fingerprint": encoder_fingerprint(encoder),
        "feature_size": encoder.outputs[0].shape[-1],
        "image_size": image_size,
        "crop_proportion": crop_proportion,
        "preparation": PREPARATION,
        "dataset": dataset_spec,
        "dataset_fingerprints": {split.split: split.fingerprint for split in splits},
        "classes": len(train.class_names),
        "train_images": len(train),
        "test_images": len(test),
        "validation_images": sum(map(len, validation)),
    }


def labelled_splits(dataset_spec, data_dir=None):
    """[train, test] of a dataset, and validation where it has one of its own; all labelled.

    Raises:
        ValueError: no such dataset, images without label, fewer than two classes to train on, or a
            class that is tested and has no train images.
    """
    splits = [_labelled(load_dataset(dataset_spec, s, data_dir)) for s in ("train", "test")]
    with contextlib.suppress(MissingSplit):
        splits.append(_labelled(load_dataset(dataset_spec, "validation", data_dir)))
    _check_classes(*splits)
    return splits


def accuracies(labels, predictions):
    """Returns {"accuracy", "mean_per_class_accuracy"} in [0, 1], and "quadratic_kappa", at most 1.

    The mean is over the classes that occur in `labels`, as in the transfer protocols for
    Caltech-101, Flowers-102 and Pets. Quadratically weighted kappa is of meaning where the classes
    are grades in their order, as in Diabetic Retinopathy; 0 is chance.

    Args:
        labels: int [N].
        predictions: int [N].
    """
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "mean_per_class_accuracy": float(
            recall_score(labels, predictions, labels=np.unique(labels), average="macro")
        ),
        "quadratic_kappa": _quadratic_kappa(labels, predictions),
    }


def over_trials(found):
    """Mean, standard deviation and values of several trials.

    Args:
        found: a list of what `accuracies` returned.

    Returns:
        The mean of each metric by its name, {"std": {metric: sample standard deviation, None of
        one trial}, "values": {metric: list}, "trials": how many}.
    """
    values = {metric: [one[metric] for one in found] for metric in found[0]}
    spread = {m: float(np.std(v, ddof=1)) if len(v) > 1 else None for m, v in values.items()}
    means = {metric: float(np.mean(v)) for metric, v in values.items()}
    return {**means, "std": spread, "values": values, "trials": len(found)}


def with_spread(result):
    """The accuracy of a result of several trials as text, such as "81.25% ± 0.40%"."""
    spread = result["std"]["accuracy"]
    return f"{result['accuracy']:.2%}" + (f" ± {spread:.2%}" if spread is not None else "")


def _quadratic_kappa(labels, predictions):
    # In moments: scikit-learn's tables of all pairs of classes take gigabytes for 10,000 of them.
    if not np.issubdtype(np.asarray(labels).dtype, np.integer):  # names: grades in sorted order
        both = np.unique(np.concatenate([labels, predictions]), return_inverse=True)[1]
        labels, predictions = np.split(both, [len(labels)])
    a, b = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    by_chance = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    if not by_chance:
        return 0.0  # one class alone: no disagreement to compare with
    return float(1 - np.mean((a - b) ** 2) / by_chance)


def revision_of(evaluation):
    """The revision of an evaluation, such as "few_shot_10"."""
    return next((r for name, r in REVISIONS.items() if evaluation.startswith(name)), 1)


def write_result(evaluation, frozen, outcome):
    """Writes `EVALUATION-DATASET.json` into the workdir and returns what it holds, as a dict.

    Args:
        evaluation: the name of the evaluation, such as "knn".
        frozen: the FrozenFeatures that were evaluated.
        outcome: dict of the evaluation's own settings and numbers.
    """
    return write_outcome(evaluation, frozen.workdir, frozen.facts, outcome)


def write_outcome(evaluation, workdir, facts, outcome):
    """As `write_result`, of the `facts_of` an evaluation."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    result = {
        "evaluation": evaluation,
        "revision": revision_of(evaluation),
        **outcome,
        **facts,
        "command": this_command(),
        "versions": {"python": platform.python_version(), **versions},
    }
    write_json(workdir / result_name(evaluation, facts["dataset"]), result)
    return result


def result_name(evaluation, dataset_spec):
    """Returns the name of a results file: "knn", "shapes" gives "knn-shapes-36eb60.json"."""
    readable = re.sub(r"\W+", "-", dataset_spec).strip("-").encode()
    # File systems take names of up to 255 bytes; the digits tell apart what reads the same.
    shown = readable[-150:].decode(errors="ignore")
    return f"{evaluation}-{shown}-{fingerprint_of(dataset_spec)[:6]}.json"


def result_workdir(encoder_path, workdir):
    """The folder for results: `workdir`, else the encoder's own.

    Raises:
        ValueError: there is neither, or no such encoder.
    """
    encoder_file(encoder_path)  # that it is there is the first thing to know
    found = workdir or workdir_of(encoder_path)
    if not found:
        raise UserError(
            f"The encoder {encoder_path} lies in no pretraining workdir, so it must be said where "
            "the results go: give a folder as --workdir."
        )
    return pathlib.Path(found).expanduser()


def _labelled(dataset):
    unlabelled = int((dataset.labels < 0).sum())
    if unlabelled or not dataset.class_names:
        raise UserError(
            f"{unlabelled} of {len(dataset)} images of {dataset.name} ({dataset.split}) have no "
            "label, and this evaluation needs them all: give a dataset of class folders."
        )
    return dataset


def _check_classes(train, *others):
    trained = np.unique(train.labels)
    untrained = sorted({label for split in others for label in np.setdiff1d(split.labels, trained)})
    if untrained:
        names = ", ".join(train.class_names[label] for label in untrained[:5])
        raise UserError(
            f"{len(untrained)} classes of {train.name} have no train images ({names}): nothing "
            "could learn them. Add some, or take their images out of the other splits."
        )
    if len(trained) < 2:
        names = ", ".join(train.class_names[label] for label in trained)
        raise UserError(
            f"The train images of {train.name} are all of one class ({names}); an evaluation needs "
            "two or more. Is this the folder that holds the class folders?"
        )
