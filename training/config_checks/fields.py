"""A rule for every field of a pretraining config.

A new field needs a line here: a field without a rule counts as misspelt.
"""

from sassl_tf.style_augmentations.color_statistics import COLOR_SPACES
from sassl_tf.views.colour import JITTER_LAWS
from sassl_tf.views.crops import CROP_SAMPLERS
from sassl_tf.views.recipes import SASSL_POSITIONS
from sassl_tf.vit import POOLS, POSITIONS
from training.config_checks.rule import Rule, bounds, number, one_of, whole
from training.input.placement import PLACEMENTS
from training.methods import METHODS
from training.styles import NONE, STYLES

SEEDS = 2**31  # TensorFlow's seeds are int32, and Keras's are not negative

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
