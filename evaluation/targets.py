"""The datasets that an encoder is transferred to: the paper's eleven, and others.

The data are not part of the repository: TFDS has most of them, and the others are taken from class
folders.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.representation.features import CROP_PROPORTION


@dataclasses.dataclass(frozen=True)
class Target:
    """A dataset, how its images are prepared and how accuracy is counted on it.

    Attributes:
        spec: the dataset for `load_dataset`; "" if TFDS does not have it, or if it is too large.
        metrics: some of `evaluation.results.METRICS`; settings are chosen by the first.
        crop_proportion: as for `sassl_tf.representation.features.prepare_image`.
        by_hand: what a person has to do first, if TFDS cannot download it.
        name: the name of the target; by default its spec.
    """

    spec: str
    metrics: tuple[str, ...] = ("accuracy",)
    crop_proportion: float = CROP_PROPORTION
    by_hand: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.spec)


IMAGENET = (
    "download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org into "
    "DATA_DIR/downloads/manual"
)
RETINOPATHY = (
    "download sample.zip, test.zip, train.zip and the labels of the Kaggle competition "
    "diabetic-retinopathy-detection into DATA_DIR/downloads/manual, as TFDS's page of it says"
)
INAT = (
    "it has 240 GB; prepare it on purpose, by tfds build i_naturalist2021, and give "
    "inat21=tfds:i_naturalist2021"
)
AIRCRAFT = (
    "TFDS does not have it: download fgvc-aircraft-2013b.tar.gz from "
    "www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft, write its images to folders "
    "aircraft/{train,val,test}/VARIANT, and give aircraft=folder:aircraft"
)
CARS = "the address that TFDS knows no longer exists: put the files where its message says"
BY_CLASS = ("mean_per_class_accuracy",)
# Crops of the whole shorter side, as in SimCLR's appendix B.8 and ssl-transfer; for ImageNet and
# iNaturalist the usual 224 of 256.
WHOLE: dict[str, Any] = {"crop_proportion": 1.0}
PAPER = {
    "imagenet_1pct": Target("tfds:imagenet2012_subset/1pct", by_hand=IMAGENET),
    "inat21": Target("", by_hand=INAT),
    "retinopathy": Target(
        "tfds:diabetic_retinopathy_detection/btgraham-300",
        ("accuracy", "quadratic_kappa"),
        by_hand=RETINOPATHY,
        **WHOLE,
    ),
    "dtd": Target("tfds:dtd", **WHOLE),
    "food101": Target("tfds:food101", **WHOLE),
    "cifar10": Target("tfds:cifar10", **WHOLE),
    "cifar100": Target("tfds:cifar100", **WHOLE),
    "sun397": Target("tfds:sun397/standard-part1-120k", **WHOLE),
    "cars": Target("tfds:cars196", by_hand=CARS, **WHOLE),
    "caltech101": Target("tfds:caltech101", BY_CLASS, **WHOLE),
    "flowers": Target("tfds:oxford_flowers102", BY_CLASS, **WHOLE),
}
TARGETS = {
    **PAPER,
    "pets": Target("tfds:oxford_iiit_pet", BY_CLASS, **WHOLE),
    "aircraft": Target("", BY_CLASS, by_hand=AIRCRAFT, **WHOLE),
}
TARGETS = {name: dataclasses.replace(target, name=name) for name, target in TARGETS.items()}


def targets_of(names: Iterable[str]) -> list[Target]:
    """Returns the list of targets that names stand for.

    Args:
        names: each is "paper", one of `TARGETS`, a spec for `load_dataset`, or NAME=SPEC. A target
            that is named twice is evaluated as it is named last.

    Raises:
        ValueError: an unknown name.
    """
    targets: dict[str, Target] = {}
    for text in names:
        name, _, spec = text.partition("=")
        if text == "paper":
            targets.update((name, TARGETS[name]) for name in PAPER)
        elif name in TARGETS:
            target = TARGETS[name]
            targets[name] = dataclasses.replace(target, spec=spec, by_hand="") if spec else target
        elif text == "shapes" or ":" in name:
            targets[text] = Target(text)
        else:
            raise UserError(
                f"There is no target {name!r}.{nearest(name, TARGETS)} Give paper, "
                f"{', '.join(TARGETS)}, tfds:NAME, folder:PATH, shapes, or NAME=SPEC for one that "
                "has a name."
            )
    return [*targets.values()]
