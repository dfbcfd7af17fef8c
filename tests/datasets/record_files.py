"""TFRecord files for tests, written by TensorFlow and taken apart by hand."""

import io
import struct

import numpy as np
import tensorflow as tf
from PIL import Image


def encoded_images(count, seed=0, kind="PNG"):
    """Returns encoded images of random pixels and of several sizes."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        pixels = rng.integers(0, 256, (12 + number % 3, 16, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, kind)
        images.append(data.getvalue())
    return images


def example(image, label=None, image_field="image", label_field="label", **others):
    """Returns a serialized `tf.train.Example`; `others` are features of bytes."""
    fields = {image_field: image, **others}
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in fields.items()
    }
    if label is not None:
        features[label_field] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_shard(path, contents):
    """Writes records with these contents, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    return path


def places(path):
    """Returns [(offset, length of the content)] of the records of a shard, read by hand."""
    data, found, offset = path.read_bytes(), [], 0
    while offset < len(data):
        (length,) = struct.unpack_from("<Q", data, offset)
        found.append((offset, length))
        offset += 8 + 4 + length + 4
    return found


def flip(path, position):
    """Changes one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
