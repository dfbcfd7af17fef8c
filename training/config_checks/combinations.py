"""Rules for several fields of a pretraining config: each returns a message, or None."""

from collections.abc import Callable
from typing import Any

from sassl_tf.errors import UserError
from sassl_tf.vit import SIZES
from training.encoders import VITS, check_encoder
from training.methods import METHODS, MULTI_CROP
from training.resnets import RESNETS
from training.styles import NONE, style_of


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


def _groups_have_statistics_of_their_own(config):
    if config.method == "moco" and config.encoder.synchronized_batch_norm:
        return (
            "encoder.synchronized_batch_norm is True, and moco.batch_norm_groups has statistics of "
            "parts of the batch, which keep queries from recognising their keys. Set "
            "--config.encoder.synchronized_batch_norm=False."
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


# {field of `encoder.vit`: the value that does nothing}
VIT_OPTIONS: dict[str, Any] = {
    "positions": "learned",
    "pool": "token",
    "heads": 0,
    "drop_path": 0.0,
}


def _option_is_of_a_vit(field):
    neutral = VIT_OPTIONS[field]

    def rule(config):
        name, value = config.encoder.name, config.encoder.vit[field]
        if value == neutral or name in VITS:
            return None
        return (
            f"encoder.vit.{field} is {value!r}, which {name} does not have. Set "
            f"--config.encoder.vit.{field}={neutral!r}."
        )

    return rule


def _style_is_in_a_view(config):
    sides = ["left", "right"]
    if config.local_crops and "local" in config.views:
        sides.append("local")
    fields = [f"views.{side}.sassl" for side in sides]
    if style_of(config) == NONE or any(config.views[side].sassl != NONE for side in sides):
        return None
    return (
        f"style is {config.style!r}, and no view is stylized: {' and '.join(fields)} are {NONE!r}. "
        "Set one of them, or --config.style=none."
    )


def _kept_checkpoints_are_written(config):
    kept, every = config.keep_checkpoint_every, config.checkpoint_every
    if not kept or (every and kept % every == 0):
        return None
    expected = f"0 or a multiple of checkpoint_every, {every}" if every else "0"
    written = "no other checkpoint is written" if every else "checkpoint_every is 0"
    return f"keep_checkpoint_every is {kept}; expected {expected}: {written}."


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
    "momentum": (0.9, ("lars", "sgd")),
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


# (fields, the rule for them together), applied if each field follows its own rule.
TOGETHER: tuple[tuple[tuple[str, ...], Callable], ...] = (
    (("method",), _method_has_its_section),
    (("batch_size", "accumulate", "shuffle_window"), _batch_holds_whole_windows),
    (("encoder.name", "encoder.stem", "encoder.width"), _encoder_is_known),
    (("encoder.name", "encoder.vit.heads"), _heads_divide_the_width),
    (("encoder.name", "image_size", "local_crops", "local_size"), _crops_hold_a_patch),
    (
        ("style", "sassl.enabled", "local_crops", "views.left.sassl", "views.right.sassl"),
        _style_is_in_a_view,
    ),
    (("checkpoint_every", "keep_checkpoint_every"), _kept_checkpoints_are_written),
    (("method", "encoder.name", "moco_v3.frozen_projection"), _frozen_projection_is_there),
    (("method", "local_crops"), _local_crops_have_a_method),
    (("batch_size", "accumulate"), _parts_hold_several_images),
    (("method", "batch_size", "accumulate", "moco.queue_size"), _queue_holds_whole_batches),
    (("method", "batch_size", "accumulate", "moco.batch_norm_groups"), _groups_hold_several_images),
    (
        ("method", "encoder.synchronized_batch_norm", "moco.batch_norm_groups"),
        _groups_have_statistics_of_their_own,
    ),
    *(
        (("encoder.name", f"encoder.vit.{field}"), _option_is_of_a_vit(field))
        for field in VIT_OPTIONS
    ),
    *(
        (("optimizer.name", f"optimizer.{field}"), _option_is_of_the_optimizer(field))
        for field in OPTIMIZER_OPTIONS
    ),
)
