"""A pretraining that costs little beside its start: few images, a small encoder, no SASSL."""

import keras

from tests.evaluation.tiny import write_class_folders


def encoder():
    """One convolution with batch normalisation, images to features [B, 8]."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(8, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def write_images(folder):
    write_class_folders(folder, classes=2, train=32)


def flags(images):
    """Flags for `training.pretrain`, in addition to the smoke preset: 60 steps on a folder."""
    return [
        f"--config.dataset=folder:{images}",
        f"--config.encoder.name={__name__}:encoder",
        "--config.epochs=30",
        "--config.checkpoint_every=3",
        "--config.sassl.enabled=False",
        # Views without distortions, for which each process would compile a program.
        *(
            f"--config.views.{side}.{name}_probability=0.0"
            for side in ("left", "right")
            for name in ("jitter", "grayscale", "blur")
        ),
    ]
