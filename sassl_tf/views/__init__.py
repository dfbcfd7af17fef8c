"""Views of images for self-supervised learning: recipes, draws, operations and Keras layers.

A recipe says which operations two views have; `draw_view`, `crop_view` and `finish_views` make one
view of it, as the trainers do. `TwoViews` is all of it as a Keras layer; the other layers are the
operations one by one.
"""

from sassl_tf.views.apply import crop_view, finish_views
from sassl_tf.views.blur import gaussian_blur
from sassl_tf.views.colour import color_jitter, grayscale, solarize
from sassl_tf.views.crops import crop_and_resize
from sassl_tf.views.draws import draw_view
from sassl_tf.views.layers import (
    RandomColorJitter,
    RandomFlip,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    RandomSolarization,
)
from sassl_tf.views.recipes import (
    MultiCropRecipe,
    Recipe,
    View,
    barlow_twins_recipe,
    byol_recipe,
    dino_recipe,
    moco_v2_recipe,
    simclr_recipe,
)
from sassl_tf.views.two_views import TwoViews

__all__ = [
    "MultiCropRecipe",
    "RandomColorJitter",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomResizedCrop",
    "RandomSolarization",
    "Recipe",
    "TwoViews",
    "View",
    "barlow_twins_recipe",
    "byol_recipe",
    "color_jitter",
    "crop_and_resize",
    "crop_view",
    "dino_recipe",
    "draw_view",
    "finish_views",
    "gaussian_blur",
    "grayscale",
    "moco_v2_recipe",
    "simclr_recipe",
    "solarize",
]
