"""Recipes: the operations of the views of a method, as data."""

from __future__ import annotations

import dataclasses
from typing import Any

from sassl_tf import arguments
from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.views.colour import JITTER_LAWS
from sassl_tf.views.crops import CROP_SAMPLERS

SASSL_POSITIONS = ("none", "before_jitter", "after_all")


@dataclasses.dataclass(frozen=True)
class View:
    """The operations of one view, in their order: crop, flip, SASSL, jitter, grayscale, blur,
    solarization. The defaults are SimCLR's right view.

    Sources: arXiv 2002.05709, appendix A; google-research/simclr, tf2/data_util.py.

    Attributes:
        crop_area: (lowest, highest) share of the image that the crop covers, in (0, 1].
        crop_ratio: (lowest, highest) width of the crop divided by its height.
        crop_sampler: the law of the crop box: "tensorflow" (SimCLR's), "torchvision" (MoCo's and
            SimSiam's) or "byol"; see `sassl_tf.views.crops`.
        flip_probability: of mirroring left and right.
        jitter_probability: of colour jitter.
        jitter_law: "simclr", "byol" or "torchvision"; see `sassl_tf.views.color_jitter`.
        brightness, contrast, saturation: strengths s; the factor is uniform in
            [max(1 - s, 0), 1 + s].
        hue: strength in [0, 0.5]; the shift is uniform in [-hue, hue] turns of the colour wheel.
        grayscale_probability: of replacing the colours by their luma.
        blur_probability: of a Gaussian blur, whose kernel is a tenth of the view's side.
        blur_sigma: (lowest, highest) standard deviation of the blur, in pixels of the view.
        solarize_probability: of inverting the values from 0.5 on.
        sassl: where the style transfer comes: "before_jitter" (after the flip; the paper does
            not say where), "after_all", or "none".

    Raises:
        ValueError: a value is out of range, or names no law.
    """

    crop_area: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    crop_sampler: str = "tensorflow"
    flip_probability: float = 0.5
    jitter_probability: float = 0.8
    jitter_law: str = "simclr"
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    grayscale_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_probability: float = 0.0
    sassl: str = "none"

    def __post_init__(self) -> None:
        checked = {
            "crop_area": arguments.positive_range(self.crop_area, "crop_area", highest=1),
            "crop_ratio": arguments.positive_range(self.crop_ratio, "crop_ratio"),
            "blur_sigma": arguments.positive_range(self.blur_sigma, "blur_sigma"),
            "hue": arguments.strength(self.hue, "hue", highest=0.5),
        }
        for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
            field = f"{name}_probability"
            checked[field] = arguments.fraction(getattr(self, field), field)
        for field in ("brightness", "contrast", "saturation"):
            checked[field] = arguments.strength(getattr(self, field), field)
        for field, known in (
            ("crop_sampler", CROP_SAMPLERS),
            ("jitter_law", JITTER_LAWS),
            ("sassl", SASSL_POSITIONS),
        ):
            checked[field] = arguments.choice(getattr(self, field), field, known)
        for field, value in checked.items():
            object.__setattr__(self, field, value)  # the one way into a frozen dataclass

    @property
    def stylized(self) -> bool:
        """Tells whether the view has a style transfer."""
        return self.sassl != "none"

    @property
    def distorted(self) -> bool:
        """Tells whether any of jitter, grayscale, blur and solarization may come."""
        distortions = ("jitter", "grayscale", "blur", "solarize")
        return any(getattr(self, f"{name}_probability") > 0 for name in distortions)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The two views of a method; `dataclasses.asdict` makes plain dicts of it.

    Attributes:
        left: the view that SASSL stylizes (arXiv 2312.01187).
        right: the other one.
    """

    left: View
    right: View


@dataclasses.dataclass(frozen=True)
class MultiCropRecipe(Recipe):
    """The two views of a method, called global, and those of small crops beside them.

    Attributes:
        local: the view of each small crop.
    """

    local: View


def simclr_recipe(strength: float = 1.0, blur_probability: float = 0.5) -> Recipe:
    """Returns SimCLR's recipe, whose two views are alike but for SASSL.

    For CIFAR: strength 0.5 and blur_probability 0 (appendix B.9). Sources: those of `View`.

    Args:
        strength: of the colour jitter.
        blur_probability: of the Gaussian blur.
    """
    numbers = {
        **_jitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength),
        "blur_probability": blur_probability,
    }
    return _recipe(numbers, numbers)


def moco_v2_recipe() -> Recipe:
    """Returns MoCo v2's recipe, whose two views are alike but for SASSL; SimSiam's is the same.

    Source: facebookresearch/moco, main_moco.py, `--aug-plus`.
    """
    numbers = {
        "crop_area": (0.2, 1.0),
        "crop_sampler": "torchvision",
        "jitter_law": "torchvision",
        **_jitter(0.4, 0.4, 0.4, 0.1),
    }
    return _recipe(numbers, numbers)


def byol_recipe() -> Recipe:
    """Returns BYOL's recipe: the left view is always blurred, the right one seldom blurred and
    sometimes solarized.

    Sources: arXiv 2006.07733, table 6; google-deepmind/deepmind-research,
    byol/utils/dataset.py (the crop) and augmentations.py.
    """
    numbers = {"crop_sampler": "byol", "jitter_law": "byol", **_jitter(0.4, 0.4, 0.2, 0.1)}
    return _recipe(
        {**numbers, "blur_probability": 1.0},
        {**numbers, "blur_probability": 0.1, "solarize_probability": 0.2},
    )


def barlow_twins_recipe() -> Recipe:
    """Returns the recipe of Barlow Twins and VICReg: BYOL's operations under torchvision's laws.

    Sources: facebookresearch/barlowtwins, main.py; facebookresearch/vicreg, augmentations.py.
    """
    numbers = {
        "crop_sampler": "torchvision",
        "jitter_law": "torchvision",
        **_jitter(0.4, 0.4, 0.2, 0.1),
    }
    return _recipe(
        {**numbers, "blur_probability": 1.0},
        {**numbers, "blur_probability": 0.1, "solarize_probability": 0.2},
    )


def dino_recipe() -> MultiCropRecipe:
    """Returns DINO's recipe: two global crops, both stylized, and small local ones.

    SASSL's paper did not try DINO, in which every crop learns from the global ones. Set
    `View(sassl=...)` for another choice. Source: facebookresearch/dino, main_dino.py.
    """
    laws = {"crop_sampler": "torchvision", "jitter_law": "torchvision"}
    numbers: dict[str, Any] = {**laws, **_jitter(0.4, 0.4, 0.2, 0.1)}
    of_global = {**numbers, "crop_area": (0.4, 1.0), "sassl": "before_jitter"}
    return MultiCropRecipe(
        left=View(**of_global, blur_probability=1.0),
        right=View(**of_global, blur_probability=0.1, solarize_probability=0.2),
        local=View(**numbers, crop_area=(0.05, 0.4), blur_probability=0.5),
    )


RECIPES = {
    "simclr": simclr_recipe,
    "moco_v2": moco_v2_recipe,
    "byol": byol_recipe,
    "barlow_twins": barlow_twins_recipe,
    "dino": dino_recipe,
}


def recipe_of(recipe: str | Recipe) -> Recipe:
    """Returns the recipe of a name, or the recipe itself.

    Raises:
        ValueError: there is none of this name, or it is no recipe at all.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if not isinstance(recipe, str) or recipe not in RECIPES:
        listed = ", ".join(repr(name) for name in RECIPES)
        raise UserError(
            f"recipe is {recipe!r}; expected one of {listed}, or a sassl_tf.views.Recipe."
            f"{nearest(recipe, RECIPES) if isinstance(recipe, str) else ''}"
        )
    return RECIPES[recipe]()


def _jitter(brightness: float, contrast: float, saturation: float, hue: float) -> dict[str, float]:
    return {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
    }


def _recipe(left: dict[str, Any], right: dict[str, Any]) -> Recipe:
    """Returns a recipe whose left view alone is stylized (arXiv 2312.01187)."""
    return Recipe(View(**left, sassl="before_jitter"), View(**right))
