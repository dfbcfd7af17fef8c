"""Does style augmentation help, where, and how strong should it be?

    SASSL_DATA=DIR python -m evaluation.study --study=studies/style.py --workdir=runs/style

DIR holds the images (the environment variable SASSL_DATA; by default `data`):

    imagenette128/{train,val}/CLASS/...   Imagenette, 128 px
    imagenette128_drawn/{cartoon,pencil}  its test images, drawn (evaluation.renditions)
    caltech101_128/{train,test}/CLASS/... Caltech-101
    cifar10/{train,test}/CLASS/...        CIFAR-10 as class folders (training.convert_dataset)
    fundus128/GRADE/...                   retina photographs
    cue_conflict224/SHAPE/...             Geirhos et al. 2019

`studies/style.py:moco` and `:byol` are the best arms for other methods, `:long` is SimCLR for four
times as many epochs, and `:precision` compares mixed_bfloat16 with float32. `:short` is SimCLR at a
size that two cores can do in hours; so are `:short_moco`, `:short_byol` and `:short_long`.
docs/study.md has the questions and the criteria, written before the first run.
"""

import os

# The size of the study. At 36 epochs a run sees 234,000 images.
EPOCHS = 36.0
LONGER = 4  # times the epochs, for ":long"
SEEDS = [0, 1, 2, 3, 4]
FEWER_SEEDS = [0, 1, 2]  # for the other studies
# The two arms that the rule of docs/study.md picks, for the other methods and the longer training.
BEST = ("strong", "strong_in_batch")
SHORT = {"epochs": 10.0, "image_size": 48}  # for ":short": 65,000 images a run
PRECISION = "float32"

DATA = os.environ.get("SASSL_DATA", "data")
CACHE = "runs/corrupted"  # corrupted images, made once for all runs
HOME = f"folder:{DATA}/imagenette128"
DRAWN = f"folder:{DATA}/imagenette128_drawn"
CIFAR10 = f"cifar10=folder:{DATA}/cifar10"

BASELINE = ("baseline", {"style": "none"})
STRONG = {"sassl.blending_factor": (0.4, 1.0), "sassl.interpolation_factor": (0.2, 0.7)}
ARMS = [
    BASELINE,
    # The paper's factors are the preset's own: α and β from U(0.1, 0.3).
    ("paper", {"style": "sassl"}),
    ("strong", {"style": "sassl", **STRONG}),
    ("strong_in_batch", {"style": "sassl", **STRONG, "sassl.styles": "in_batch"}),
    # From the paper's factors to the strong ones, linearly over the training.
    ("growing", {"style": "sassl", **{f"{name}_end": ends for name, ends in STRONG.items()}}),
    # The rivals, each with its paper's arguments, in the same place of the views.
    ("fourier", {"style": "fourier"}),
    ("color_statistics", {"style": "color_statistics"}),
    ("random_style", {"style": "random_style"}),
    # Full pictures of the stylizer, as in Stylized-ImageNet.
    (
        "full_stylization",
        {
            "style": "sassl",
            "sassl.blending_factor": (1.0, 1.0),
            "sassl.interpolation_factor": (1.0, 1.0),
        },
    ),
]
CHANGES = {
    "dataset": HOME,
    "epochs": EPOCHS,
    "precision": PRECISION,
    # Otherwise the processor decides it, and machines would differ. Without instructions for it,
    # bfloat16 takes many times as long.
    "sassl.precision": "float32",
    "random_style.precision": "float32",
    "knn_every": 0,
    "keep_checkpoints": 1,
}
EVALUATIONS = [
    f"home, linear=linear_probe on {HOME} --trials=1",
    f"home, kNN=knn on {HOME}",
    f"home, ten shots=few_shot_10 on {HOME}",
    f"home, 1 % of labels=finetune_0.01 on {HOME} --steps=200 --batch_size=64"
    " --learning_rates=0.01 --weight_decays=0",
    f"Caltech-101, linear=linear_probe on caltech101=folder:{DATA}/caltech101_128 --trials=1",
    f"CIFAR-10, linear=linear_probe on {CIFAR10} --trials=1 --l2_values=8",
    f"CIFAR-10, ten shots=few_shot_10 on {CIFAR10}",
    f"fundus, linear=linear_probe on folder:{DATA}/fundus128 --trials=5",
    f"robustness=robustness on {HOME} --images=500 --severities=1,3,5 --cache={CACHE}",
    f"drawings=domains on {HOME} --test={DRAWN}/cartoon,{DRAWN}/pencil",
    f"shape bias=shape_bias on {CIFAR10} --cue_conflict={DATA}/cue_conflict224",
]
SLOW = ("home, 1 % of labels", "CIFAR-10, linear")  # would take longer than a short training


def get_study(variant="simclr"):
    """Returns the study.

    Args:
        variant: "simclr", "moco", "byol", "long" or "precision"; "short" for "simclr" at a small
            size, "short_moco" and so on for the others.
    """
    short = variant.startswith("short")
    variant = variant.removeprefix("short").removeprefix("_") or "simclr"
    study = {
        "config": "training/configs/simclr.py:imagenette",
        "changes": dict(CHANGES),
        "arms": ARMS,
        "seeds": SEEDS,
        "evaluations": EVALUATIONS,
    }
    if short:
        study["changes"].update(SHORT)
        left_out = SLOW
        if variant in ("simclr", "moco"):
            # Trained before this evaluation was added, and their encoders were not kept.
            left_out += ("drawings",)
        study["evaluations"] = [line for line in EVALUATIONS if not line.startswith(left_out)]
    if variant in ("moco", "byol", "long"):
        study["arms"] = [arm for arm in ARMS if arm[0] in (BASELINE[0], *BEST)]
        study["seeds"] = FEWER_SEEDS
    if variant in ("moco", "byol"):
        study["config"] = f"training/configs/{variant}.py:imagenette"
    elif variant == "long":
        study["changes"]["epochs"] *= LONGER
    elif variant == "precision":
        study["changes"].pop("precision")
        study["arms"] = [
            ("float32", {**BASELINE[1], "precision": "float32"}),
            ("mixed_bfloat16", {**BASELINE[1], "precision": "mixed_bfloat16"}),
        ]
        study["seeds"] = FEWER_SEEDS
    elif variant != "simclr":
        raise ValueError(f"There is no variant {variant!r} of this study.")
    return study
