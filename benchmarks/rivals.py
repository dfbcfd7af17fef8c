"""SimCLR's two views of every image, as others make them: pipelines to compare with ours.

Each function takes the paths of JPEG files, the side of the views in pixels and the images of a
batch, and returns an endless iterator over pairs of batches of views. All do the same: a random
resized crop (bicubic where there is such a choice), flip, colour jitter of 0.8, 0.8, 0.8, 0.2 with
p = 0.8, grayscale with p = 0.2, blur with p = 0.5. Processes or `tf.data` threads make them, as
many as there are cores.
What the libraries mean by each differs (docs/performance.md).
"""

import importlib.util

import numpy as np
import tensorflow as tf

from training.input.speed import available_cores

AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
STRENGTHS = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
SIGMA = (0.1, 2.0)


def blur_taps(size):
    """An odd number: a tenth of the image's side."""
    return 2 * (size // 10 // 2) + 1


def _tf_pipeline(paths, batch, view, finish=None):
    """`view(image)` on each image twice, `finish(views)` on batches."""

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return view(image), view(image)

    dataset = tf.data.Dataset.from_tensor_slices(paths).repeat()
    dataset = dataset.map(load, tf.data.AUTOTUNE).batch(batch, drop_remainder=True)
    if finish is not None:
        dataset = dataset.map(lambda *views: tuple(map(finish, views)), tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def _maybe(probability, operation, image):
    return tf.cond(tf.random.uniform(()) < probability, lambda: operation(image), lambda: image)


def tf_image(paths, size, batch):
    """tf.image, image by image, as the pipeline of SimCLR's second implementation.

    Written anew from what google-research/simclr, tf2/data_util.py, says it does.
    """

    def crop(image):
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image),
            [[[0.0, 0.0, 1.0, 1.0]]],
            aspect_ratio_range=RATIO,
            area_range=AREA,
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        cut = tf.image.crop_to_bounding_box(image, begin[0], begin[1], extent[0], extent[1])
        return tf.image.resize([cut], [size, size], tf.image.ResizeMethod.BICUBIC)[0]

    def jitter(image):
        operations = [
            lambda x: x * tf.random.uniform((), 0.2, 1.8),
            lambda x: tf.image.random_contrast(x, 0.2, 1.8),
            lambda x: tf.image.random_saturation(x, 0.2, 1.8),
            lambda x: tf.image.random_hue(x, 0.2),
        ]
        order = tf.random.shuffle(tf.range(4))
        for place in range(4):
            branches = [lambda x=image, do=do: do(x) for do in operations]
            image = tf.clip_by_value(tf.switch_case(order[place], branches), 0.0, 1.0)
        return image

    def gray(image):
        return tf.tile(tf.image.rgb_to_grayscale(image), [1, 1, 3])

    def blur(image):
        radius = blur_taps(size) // 2
        offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
        taps = tf.exp(-tf.square(offsets) / (2 * tf.square(tf.random.uniform((), *SIGMA))))
        taps = tf.tile((taps / tf.reduce_sum(taps))[:, None, None, None], [1, 1, 3, 1])
        for kernel in (taps, tf.transpose(taps, [1, 0, 2, 3])):
            image = tf.nn.depthwise_conv2d(image[None], kernel, [1, 1, 1, 1], "SAME")[0]
        return image

    def view(image):
        image = crop(tf.image.convert_image_dtype(image, tf.float32))
        image = tf.image.random_flip_left_right(tf.ensure_shape(image, [size, size, 3]))
        image = _maybe(0.2, gray, _maybe(0.8, jitter, image))
        return tf.clip_by_value(_maybe(0.5, blur, image), 0.0, 1.0)

    return _tf_pipeline(paths, batch, view)


def keras_cv(paths, size, batch):
    """KerasCV's layers: the crop on each image, the others on batches."""
    import keras_cv as kcv

    layers = kcv.layers
    crop = layers.RandomCropAndResize((size, size), AREA, RATIO)
    others = [
        layers.RandomFlip("horizontal"),
        layers.RandomApply(
            layers.RandomColorJitter(
                (0, 255),
                *(STRENGTHS[name] for name in ("brightness", "contrast", "saturation")),
                hue_factor=STRENGTHS["hue"],
            ),
            rate=0.8,
        ),
        layers.RandomApply(layers.Grayscale(output_channels=3), rate=0.2),
        layers.RandomApply(layers.RandomGaussianBlur(blur_taps(size), SIGMA), rate=0.5),
    ]

    def finish(images):
        for layer in others:
            images = layer(images, training=True)
        return images / 255.0

    return _tf_pipeline(paths, batch, lambda image: crop(image, training=True), finish)


def keras_layers(paths, size, batch):
    """Keras 3's layers; a crop with KerasCV's, as Keras has no random resized one."""
    import keras
    import keras_cv as kcv

    crop = kcv.layers.RandomCropAndResize((size, size), AREA, RATIO)
    layers = keras.layers
    jitter = layers.RandomColorJitter((0, 255), 0.8, 0.8, 0.8, 0.2)
    others = [
        layers.RandomFlip("horizontal"),
        layers.RandomGrayscale(0.2),
        layers.RandomGaussianBlur(0.5, blur_taps(size), SIGMA, value_range=(0, 255)),
    ]

    def finish(images):
        jittered = jitter(images, training=True)  # it has no probability of its own
        chosen = tf.random.uniform((batch, 1, 1, 1)) < 0.8
        images = tf.where(chosen, jittered, images)
        for layer in others:
            images = layer(images, training=True)
        return images / 255.0

    return _tf_pipeline(paths, batch, lambda image: crop(image, training=True), finish)


def albumentations(paths, size, batch):
    """albumentations on uint8, in processes of PyTorch's DataLoader."""
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)  # one thread a process, as its documentation advises
    taps = blur_taps(size)
    transform = A.Compose(
        [
            A.RandomResizedCrop((size, size), AREA, RATIO, interpolation=cv2.INTER_CUBIC),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter((0.2, 1.8), (0.2, 1.8), (0.2, 1.8), (-0.2, 0.2), p=0.8),
            A.ToGray(p=0.2),
            A.GaussianBlur(blur_limit=(taps, taps), sigma_limit=SIGMA, p=0.5),
        ]
    )

    def load(path):
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        views = (transform(image=image)["image"] for _ in range(2))
        return tuple(view.astype(np.float32) / 255.0 for view in views)

    return _loader(paths, load, batch)


def kornia(paths, size, batch):
    """Kornia in processes of PyTorch's DataLoader: the crop on each image, then on batches."""
    import cv2
    import kornia.augmentation as K
    import torch

    cv2.setNumThreads(0)
    taps = blur_taps(size)
    crop = K.RandomResizedCrop((size, size), AREA, RATIO, resample="BICUBIC")
    others = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5),
        K.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((taps, taps), SIGMA, p=0.5),
    )

    def load(path):
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        image = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
        return crop(image)[0].clamp(0, 1), crop(image)[0].clamp(0, 1)

    def collate(pairs):
        return [others(torch.stack(views)) for views in zip(*pairs, strict=True)]

    return _loader(paths, load, batch, collate)


def _loader(paths, load, batch, collate=None):
    import torch

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return 10**6  # no epoch ends while it is timed

        def __getitem__(self, index):
            return load(paths[index % len(paths)])

    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(
        Images(), batch, num_workers=available_cores(), collate_fn=collate, drop_last=True
    )
    return iter(loader)


def installed():
    """{name: pipeline} of what can run here; PyTorch's need pip install of their names."""
    found = {"tf.image": tf_image, "KerasCV": keras_cv, "Keras": keras_layers}
    have = importlib.util.find_spec
    if have("torch") and have("cv2"):
        others = {"albumentations": albumentations, "kornia": kornia}
        found |= {name: make for name, make in others.items() if have(name)}
    return found
