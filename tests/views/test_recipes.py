"""Recipes: the published numbers, and what a view may be."""

import dataclasses
import math

import pytest

from sassl_tf.views import (
    Recipe,
    View,
    barlow_twins_recipe,
    byol_recipe,
    moco_v2_recipe,
    simclr_recipe,
)
from sassl_tf.views.recipes import RECIPES, recipe_of


def test_published_numbers():
    assert simclr_recipe().right == View()
    assert simclr_recipe().left == View(sassl="before_jitter")
    cifar = simclr_recipe(strength=0.5, blur_probability=0.0).left
    assert (cifar.brightness, cifar.hue, cifar.blur_probability) == (0.4, 0.1, 0.0)
    assert moco_v2_recipe().left.crop_area == (0.2, 1.0)
    byol = byol_recipe()
    assert (byol.left.blur_probability, byol.right.blur_probability) == (1.0, 0.1)
    assert (byol.left.solarize_probability, byol.right.solarize_probability) == (0.0, 0.2)
    assert byol.left.saturation == 0.2
    barlow = barlow_twins_recipe()
    torchvisions = {"crop_sampler": "torchvision", "jitter_law": "torchvision"}
    assert barlow.left == dataclasses.replace(byol.left, **torchvisions)
    assert barlow.right == dataclasses.replace(byol.right, **torchvisions)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("crop_sampler", "keras", "one of 'tensorflow', 'torchvision', 'byol'"),
        ("jitter_law", "moco", "one of 'simclr', 'byol', 'torchvision'"),
        ("sassl", "before", "one of 'none', 'before_jitter', 'after_all'"),
        ("crop_area", (0, 1), "0 < lowest <= highest <= 1"),
        ("crop_area", (0.5, 1.5), "0 < lowest <= highest <= 1"),
        ("crop_ratio", (4 / 3, 3 / 4), "0 < lowest <= highest"),
        ("blur_sigma", (0.1, math.inf), "0 < lowest <= highest"),
        ("blur_sigma", "12", "0 < lowest <= highest"),
        ("flip_probability", 1.5, r"a number in \[0, 1\]"),
        ("hue", 0.6, r"a number in \[0, 0.5\]"),
        ("brightness", -0.1, "a number of at least 0"),
        ("contrast", math.nan, "a number of at least 0"),
        ("saturation", None, "a number of at least 0"),
    ],
)
def test_values_out_of_range_are_errors(field, value, expected):
    with pytest.raises(ValueError, match=f"{field} is .*expected.*{expected}"):
        View(**{field: value})


def test_a_misspelt_field_is_an_error():
    with pytest.raises(TypeError, match="blur_probabilty"):
        View(blur_probabilty=1.0)


def test_views_that_json_brought_back_are_equal():
    view = View(crop_area=[0.2, 1], blur_sigma=1, brightness=1)
    assert view == View(crop_area=(0.2, 1.0), blur_sigma=(1.0, 1.0), brightness=1.0)
    for recipe in (make() for make in RECIPES.values()):
        sides = dataclasses.asdict(recipe)
        assert recipe == type(recipe)(**{side: View(**fields) for side, fields in sides.items()})


def test_recipes_by_name():
    assert recipe_of("byol") == byol_recipe() and recipe_of("moco_v2") == moco_v2_recipe()
    own = Recipe(View(), View())
    assert recipe_of(own) is own
    for bad, told in (("simclr2", 'Did you mean "simclr"'), (View(), "Recipe")):
        with pytest.raises(ValueError, match=f"recipe is .*{told}"):
            recipe_of(bad)


def test_what_a_view_holds():
    assert not View().stylized and View(sassl="after_all").stylized and View().distorted
    off = {f"{name}_probability": 0 for name in ("jitter", "grayscale", "blur", "solarize")}
    assert not View(**off).distorted and View(**{**off, "blur_probability": 0.1}).distorted
