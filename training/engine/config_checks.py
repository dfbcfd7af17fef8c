"""The rules for the fields of a pretraining config; all problems are reported at once.

`FIELDS` has a rule for every field, and `TOGETHER` has rules for several fields. A new field needs
a line here: a field without a rule counts as misspelt.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections

from sassl_tf.errors import UserError
from sassl_tf.nearest import nearest
from sassl_tf.style_augmentations.color_statistics import COLOR_SPACES
from sassl_tf.views.colour import JITTER_LAWS
from sassl_tf.views.crops import CROP_SAMPLERS
from sassl_tf.views.recipes import SASSL_POSITIONS
from sassl_tf.vit import POOLS, POSITIONS, SIZES
from training.encoders import VITS, check_encoder
from training.input.placement import PLACEMENTS
from training.methods import METHODS, MULTI_CROP
from training.resnets import RESNETS
from training.styles import NONE, STYLES

SEEDS = 2**31  # TensorFlow's seeds are int32, and Keras's are not negative


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule for the value of a field.

    Attributes:
        holds: function of a value; returns whether the value is allowed.
        expected: the allowed values, in words.
        known: the allowed values, if they can be listed.
    """

    holds: Callable
    expected: str
    known: tuple = ()

    def problem(self, name: str, value: Any) -> str | None:
        """Returns a message if the value is not allowed, else None."""
        if self.holds(value):
            return None
        return f"{name} is {value!r}; expected {self.expected}.{nearest(value, self.known)}"


def _is_number(value):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def whole(least: int, most: float = math.inf) -> Rule:
    """Returns the rule for a whole number from `least` to `most`."""
    limit = f" to {most:,}" if most < math.inf else " upwards"
    return Rule(
        lambda x: _is_number(x) and isinstance(x, numbers.Integral) and least <= int(x) <= most,
        f"a whole number from {least}{limit}",
    )


def number(least: float, most: float = math.inf, above: bool = False) -> Rule:
    """Returns the rule for a finite number from `least` to `most`; with `above`, above `least`."""
    limit = f" and at most {most:,}" if most < math.inf else ""
    return Rule(
        lambda x: _is_number(x) and least <= x <= most and not (above and x == least),
        f"a number {'above' if above else 'of at least'} {least}{limit}",
    )


def bounds(least: float, most: float = math.inf, above: bool = False) -> Rule:
    """Returns the rule for (lowest, highest), or one number that is both; see `number`."""
    one = number(least, most, above)

    def holds(value):
        pair = value if isinstance(value, (tuple, list)) else (value, value)
        return len(pair) == 2 and all(map(one.holds, pair)) and pair[0] <= pair[1]

    return Rule(holds, f"(lowest, highest), each {one.expected}, the lower number first")


def one_of(*known: str) -> Rule:
    """Returns the rule for a word that is one of several."""
    listed = ", ".join(repr(word) for word in known)
    return Rule(lambda x: isinstance(x, str) and x in known, f"one of {listed}", known)


TEXT = Rule(lambda x: isinstance(x, str), "text, or '' for none")
NAME = Rule(lambda x: isinstance(x, str) and x.strip() != "", "text that is not empty")
SWITCH = Rule(lambda x: isinstance(x, bool), "True or False")
SHARE = number(0, 1)
AT_LEAST_0 = number(0)
POSITIVE = number(0, above=True)
WIDTH = whole(1)
EVERY = whole(0)  # steps
SIDE = Rule(
    lambda x: whole(0).holds(x) and (x == 0 or x >= 16), "0, or a side of at least 16 pixels"
)
# A loss compares the images of a batch, and batch normalisation turns a single image into zeros.
BATCH = whole(2)

VIEW = {
    "crop_area": bounds(0, 1, above=True),
    "crop_ratio": bounds(0, above=True),
    "crop_sampler": one_of(*CROP_SAMPLERS),
    "flip_probability": SHARE,
    "jitter_probability": SHARE,
    "jitter_law": one_of(*JITTER_LAWS),
    "brightness": AT_LEAST_0,
    "contrast": AT_LEAST_0,
    "saturation": AT_LEAST_0,
    "hue": number(0, 0.5),
    "grayscale_probability": SHARE,
    "blur_probability": SHARE,
    "blur_sigma": bounds(0, above=True),
    "solarize_probability": SHARE,
    "sassl": one_of(*SASSL_POSITIONS),
}
# A factor of a style, and its range at the end of the training.
RANGE = bounds(0, 1)
RANGE_OR_NONE = Rule(
    lambda x: (isinstance(x, (tuple, list)) and not x) or RANGE.holds(x), f"() or {RANGE.expected}"
)
BLENDING = {"blending_factor": RANGE, "blending_factor_end": RANGE_OR_NONE}
STYLIZING = {
    "stylizer": NAME,
    "weights": TEXT,
    "styles": NAME,
    "probability": SHARE,
    **BLENDING,
    "stylize_size": SIDE,
    "encode_size": SIDE,
    "precision": one_of("", "float32", "bfloat16"),
}
STYLE = {
    "sassl": {
        "enabled": SWITCH,
        **STYLIZING,
        "interpolation_factor": RANGE,
        "interpolation_factor_end": RANGE_OR_NONE,
    },
    "fourier": {
        "styles": one_of("in_batch", "one_in_batch"),
        "probability": SHARE,
        **BLENDING,
        "frequency_share": number(0, 1, above=True),
    },
    "color_statistics": {
        "probability": SHARE,
        **BLENDING,
        "color_space": one_of(*COLOR_SPACES),
    },
    "random_style": STYLIZING,
}
METHOD = {
    "simclr": {"hidden_dim": WIDTH, "projection_dim": WIDTH, "temperature": POSITIVE},
    "moco": {
        "hidden_dim": WIDTH,
        "projection_dim": WIDTH,
        "queue_size": WIDTH,
        "momentum": SHARE,
        "temperature": POSITIVE,
        "batch_norm_groups": whole(1),
    },
    "byol": {"hidden_dim": WIDTH, "projection_dim": WIDTH, "base_momentum": SHARE},
    "simsiam": {"hidden_dim": WIDTH, "projection_dim": WIDTH},
    "barlow_twins": {
        "hidden_dim": WIDTH,
        "projection_dim": WIDTH,
        "redundancy_weight": AT_LEAST_0,
    },
    "vicreg": {
        "hidden_dim": WIDTH,
        "projection_dim": WIDTH,
        "invariance_weight": AT_LEAST_0,
        "variance_weight": AT_LEAST_0,
        "covariance_weight": AT_LEAST_0,
    },
    "moco_v3": {
        "hidden_dim": WIDTH,
        "projection_dim": WIDTH,
        "projector_layers": whole(1),
        "predictor_batch_norm": SWITCH,
        "base_momentum": SHARE,
        "temperature": POSITIVE,
        "frozen_projection": SWITCH,
    },
    "dino": {
        "prototypes": WIDTH,
        "hidden_dim": WIDTH,
        "bottleneck_dim": WIDTH,
        "norm_last_layer": SWITCH,
        "freeze_last_layer": AT_LEAST_0,
        "base_momentum": SHARE,
        "center_momentum": SHARE,
        "student_temperature": POSITIVE,
        "teacher_temperature": POSITIVE,
        "warmup_teacher_temperature": POSITIVE,
        "warmup_teacher_temperature_epochs": whole(0),
    },
}
FIELDS = {
    "method": one_of(*METHODS),
    "dataset": NAME,
    "data_dir": TEXT,
    "image_size": whole(1),
    "local_crops": whole(0),
    "local_size": whole(1),
    "batch_size": BATCH,
    "accumulate": whole(1),
    "epochs": number(0, 1_000_000, above=True),
    "seed": whole(0, SEEDS - 1),
    "encoder.name": NAME,
    "encoder.stem": one_of("imagenet", "cifar"),
    "encoder.width": POSITIVE,
    "encoder.zero_init_residual": SWITCH,
    "encoder.synchronized_batch_norm": SWITCH,
    "style": one_of(*STYLES, NONE),
    **{f"{style}.{name}": rule for style, rules in STYLE.items() for name, rule in rules.items()},
    "encoder.init_from": TEXT,
    "encoder.vit.positions": one_of(*POSITIONS),
    "encoder.vit.pool": one_of(*POOLS),
    "encoder.vit.heads": whole(0),
    "encoder.vit.drop_path": SHARE,
    **{f"views.{side}.{name}": rule for side in ("left", "right") for name, rule in VIEW.items()},
    "optimizer.name": one_of("lars", "sgd", "adamw"),
    "optimizer.learning_rate": AT_LEAST_0,
    "optimizer.learning_rate_scaling": one_of("linear", "sqrt", "none"),
    "optimizer.end_learning_rate": SHARE,
    "optimizer.momentum": SHARE,
    "optimizer.weight_decay": AT_LEAST_0,
    "optimizer.warmup_epochs": AT_LEAST_0,
    "optimizer.vector_rate": POSITIVE,
    "optimizer.end_weight_decay": AT_LEAST_0,
    "optimizer.decay_vectors": SWITCH,
    "optimizer.clip_gradient": AT_LEAST_0,
    "optimizer.constant_for": TEXT,
    "shuffle_window": whole(1, 256),
    "augment_on": one_of(*PLACEMENTS),
    "precision": one_of("float32", "mixed_bfloat16", "mixed_float16"),
    "deterministic": SWITCH,
    "log_every": EVERY,
    "checkpoint_every": EVERY,
    "keep_checkpoints": whole(1),
    "keep_checkpoint_every": EVERY,
    "knn_every": EVERY,
}
FREE = ("encoder.arguments.",)  # arguments of the encoder's own function


def check_config(config: ml_collections.ConfigDict) -> None:
    """Checks a whole config before anything starts.

    Args:
        config: a ConfigDict, as those of `training/configs`.

    Raises:
        ValueError: fields are out of range, missing or unknown, or do not go together; the message
            lists all problems.
    """
    problems = list(_problems(config))
    if problems:
        one = len(problems) == 1
        listed = problems[0] if one else "".join(f"\n  {line}" for line in problems)
        raise UserError(f"The config cannot be run: {listed}")


def fields(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) of each field of a config."""
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _problems(config):
    given, rules = dict(fields(config)), _rules(config)
    checked = {name: rules[name].problem(name, given[name]) for name in given if name in rules}
    yield from filter(None, checked.values())
    for name in given:
        if name not in rules and not name.startswith(FREE):
            yield f"{name} is not a field of a config.{nearest(name, rules)}"
    for name, rule in rules.items():
        if name not in given:
            yield f"{name} is missing; expected {rule.expected}."
    for names, rule in TOGETHER.items():
        in_order = all(name in checked and not checked[name] for name in names)
        if in_order and (problem := rule(config)):
            yield problem


def _rules(config):
    """Returns `FIELDS` and the rules for the sections of methods and views that a config has."""
    sections = [name for name in METHODS if name in config]
    own = {f"{name}.{field}": rule for name in sections for field, rule in METHOD[name].items()}
    if "local" in config.get("views", {}):
        own.update({f"views.local.{field}": rule for field, rule in VIEW.items()})
    return {**FIELDS, **own}


# Rules for several fields: each returns a message, or None.


def _method_has_its_section(config):
    if config.method in config:
        return None
    sections = ", ".join(name for name in METHODS if name in config) or "no method"
    return (
        f"method is {config.method!r}, and the config has the section of {sections}. Give "
        f"--config=training/configs/{config.method}.py:PRESET."
    )


def _parts_hold_several_images(config):
    batch, parts = config.batch_size, config.accumulate
    if batch % parts or batch == parts:
        return (
            f"accumulate is {parts}; expected a divisor of batch_size, {batch}, that leaves "
            "several images a part."
        )
    return None


def _part(config):
    """Returns the size of a part of a step's batch, and its name."""
    if config.accumulate == 1:
        return config.batch_size, "batch_size"
    return config.batch_size // config.accumulate, "batch_size / accumulate"


def _queue_holds_whole_batches(config):
    size, (batch, name) = config.moco.queue_size, _part(config)
    if config.method == "moco" and size % batch:
        return f"moco.queue_size is {size}; expected a multiple of {name}, {batch}."
    return None


def _groups_hold_several_images(config):
    groups, (batch, name) = config.moco.batch_norm_groups, _part(config)
    if config.method == "moco" and groups > 1 and (batch % groups or batch == groups):
        return (
            f"moco.batch_norm_groups is {groups}; expected a divisor of {name}, {batch}, that "
            "leaves several images a group."
        )
    return None


def _local_crops_have_a_method(config):
    if config.local_crops and config.method not in MULTI_CROP:
        return (
            f"local_crops is {config.local_crops}, which only method {' or '.join(MULTI_CROP)} "
            f"has a loss for, not {config.method}. Set --config.local_crops=0."
        )
    return None


def _encoder_is_known(config):
    own = config.encoder
    try:
        check_encoder(own.name, own.stem, own.width, own.get("arguments"))
    except UserError as error:
        return str(error)
    return None


def _heads_divide_the_width(config):
    size, _ = VITS.get(config.encoder.name, (None, None))
    heads = config.encoder.vit.heads
    if size and heads and SIZES[size][0] % heads:
        return f"encoder.vit.heads is {heads}; expected a divisor of the width, {SIZES[size][0]}."
    return None


def _crops_hold_a_patch(config):
    _, patch = VITS.get(config.encoder.name, (None, 1))
    sides = {"image_size": config.image_size}
    if config.local_crops:
        sides["local_size"] = config.local_size
    for name, side in sides.items():
        if side < patch:
            return f"{name} is {side}; expected at least {patch}, a patch of {config.encoder.name}."
    return None


def _drop_path_is_of_a_vit(config):
    name, drop_path = config.encoder.name, config.encoder.vit.drop_path
    if drop_path and name in RESNETS:
        return (
            f"encoder.vit.drop_path is {drop_path}, which {name} does not have. Set "
            "--config.encoder.vit.drop_path=0."
        )
    return None


def _kept_checkpoints_are_written(config):
    kept, every = config.keep_checkpoint_every, config.checkpoint_every
    if every and kept % every:
        return (
            f"keep_checkpoint_every is {kept}; expected 0 or a multiple of checkpoint_every, "
            f"{every}: no other checkpoint is written."
        )
    return None


def _frozen_projection_is_there(config):
    name = config.encoder.name
    if config.method == "moco_v3" and config.moco_v3.frozen_projection and name in RESNETS:
        return (
            f"moco_v3.frozen_projection is True, and {name} has no projection of patches. Set "
            "--config.moco_v3.frozen_projection=False."
        )
    return None


# {field of `optimizer`: (the value that does nothing, the optimizers that have it)}
OPTIMIZER_OPTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "constant_for": ("", ("sgd",)),
    "vector_rate": (1.0, ("lars",)),
    "end_weight_decay": (0.0, ("adamw",)),
    "decay_vectors": (True, ("sgd", "adamw")),
    "clip_gradient": (0.0, ("sgd", "adamw")),
}


def _option_is_of_the_optimizer(field):
    neutral, names = OPTIMIZER_OPTIONS[field]

    def rule(config):
        name, value = config.optimizer.name, config.optimizer[field]
        if value == neutral or name in names:
            return None
        return (
            f"optimizer.{field} is {value!r}, which only optimizer.name "
            f"{' or '.join(map(repr, names))} supports, not {name!r}. Set "
            f"--config.optimizer.{field}={neutral!r}."
        )

    return rule


def _batch_holds_whole_windows(config):
    window, (batch, name) = config.shuffle_window, _part(config)
    if batch % window:
        return f"shuffle_window is {window}; expected a divisor of {name}, {batch}."
    return None


# {fields: the rule for them together}, applied if each field follows its own rule.
TOGETHER: dict[tuple[str, ...], Callable] = {
    ("method",): _method_has_its_section,
    ("batch_size", "accumulate", "shuffle_window"): _batch_holds_whole_windows,
    ("encoder.name", "encoder.stem", "encoder.width"): _encoder_is_known,
    ("encoder.name", "encoder.vit.heads"): _heads_divide_the_width,
    ("encoder.name", "image_size", "local_crops", "local_size"): _crops_hold_a_patch,
    ("encoder.name", "encoder.vit.drop_path"): _drop_path_is_of_a_vit,
    ("checkpoint_every", "keep_checkpoint_every"): _kept_checkpoints_are_written,
    ("method", "encoder.name", "moco_v3.frozen_projection"): _frozen_projection_is_there,
    ("method", "local_crops"): _local_crops_have_a_method,
    ("batch_size", "accumulate"): _parts_hold_several_images,
    ("method", "batch_size", "accumulate", "moco.queue_size"): _queue_holds_whole_batches,
    ("method", "batch_size", "accumulate", "moco.batch_norm_groups"): _groups_hold_several_images,
    **{
        ("optimizer.name", f"optimizer.{field}"): _option_is_of_the_optimizer(field)
        for field in OPTIMIZER_OPTIONS
    },
}
