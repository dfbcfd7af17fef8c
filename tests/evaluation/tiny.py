"""A tiny encoder and tiny data for the tests of the evaluations."""

import keras
import numpy as np
import tensorflow as tf

from sassl_tf.datasets import ImageDataset


def tiny_encoder(side=None, features=6, seed=0):
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Conv2D(
                features,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
            ),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def in_memory(images, labels=None, split="train", fingerprint="made"):
    """An ImageDataset of the arrays uint8 [H, W, 3] in a list."""
    labels = np.arange(len(images)) % 2 if labels is None else labels
    pngs = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    return ImageDataset(
        name="made",
        split=split,
        class_names=["a", "b"],
        labels=labels,
        fingerprint=fingerprint,
        read=lambda index: tf.io.decode_png(tf.gather(pngs, index), channels=3),
    )


def noise_images(count, side=16, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8))


def write_class_folders(root, classes=3, train=10, test=4, side=20):
    """Writes images of one colour per class, with noise, which any encoder tells apart."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test)):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                image = rng.integers(0, 60, (side, side + 4, 3), np.uint8)
                image[..., label] += 150
                (folder / f"{i}.png").write_bytes(tf.io.encode_png(image).numpy())


def blobs(count, classes=4, size=8, spread=1.5, seed=0):
    """Features [count, size] around one point per class (the same for every seed), and labels."""
    centres = np.random.default_rng(99).normal(size=(classes, size))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return (centres[labels] + spread * rng.normal(size=(count, size))).astype(np.float32), labels
