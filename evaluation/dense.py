"""Fine-tuning of detectors and segmenters: what `evaluation.detect` and `evaluation.segment` share.

As in MoCo's detection protocol (He et al. 2020, arXiv 1911.05722, section 4.2), the whole network
is fine-tuned end to end, batch normalisation included, by the same schedule from pretrained and
from random weights. SGD is PyTorch's, with momentum 0.9; the learning rate rises over the first
hundredth of the steps and falls to a tenth twice.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from evaluation.encoders import default_image_size, load_encoder
from evaluation.flags import define_encoder_flags, define_result_flags, define_settings_flags
from evaluation.loss_scale import gradients_of, with_loss_scale
from evaluation.remembered import remembered
from evaluation.results import dense_metrics, over_trials, result_name, revision_of, versions
from evaluation.settings import EvaluationSettings, option
from evaluation.subject import result_workdir
from sassl_tf.backbones import PyramidBackbone
from sassl_tf.checked import write_json
from sassl_tf.datasets.annotated import IGNORED, AnnotatedDataset, load_annotated
from sassl_tf.datasets.dataset import naming_damaged
from sassl_tf.errors import UserError
from sassl_tf.representation.features import encoder_fingerprint
from sassl_tf.typing import PathLike
from training.engine.workdir import this_command
from training.input.order import shuffled_index
from training.optimizers import TorchSGD
from training.report.logs import say

STRIDE = 32  # px: sides of images are multiples of it
LOG_EVERY = 100  # steps
PREDICTED = 16  # images at a time
# The facts about a subject that a training depends on.
IDENTITY = ("encoder_fingerprint", "image_size", "dataset_fingerprints")
INITS = ("pretrained", "random")


@dataclasses.dataclass(frozen=True)
class DenseSettings(EvaluationSettings):
    """The settings that detection and segmentation share.

    Attributes:
        init: the weights of the backbone at the start, one of `INITS`.
        batch_size: the number of images in a step.
        steps: the number of steps.
        learning_rate: the highest learning rate.
        weight_decay: λ.
        trials: the number of trainings, with the seeds `seed`, `seed + 1`, ...
        seed: of the first training: its order of the images, its flips and its new weights.
    """

    init: str = option(
        flags.DEFINE_enum,
        "pretrained",
        "The weights of the backbone at the start: pretrained, or random for comparison.",
        enum_values=INITS,
    )
    batch_size: int = option(
        flags.DEFINE_integer, 16, "The number of images in a step.", lower_bound=1
    )
    steps: int = option(flags.DEFINE_integer, 2000, "The number of steps.", lower_bound=1)
    learning_rate: float = option(
        flags.DEFINE_float, 0.01, "The highest learning rate.", lower_bound=0.0
    )
    weight_decay: float = option(
        flags.DEFINE_float, 1e-4, "The weight decay of all weights.", lower_bound=0.0
    )
    trials: int = option(
        flags.DEFINE_integer, 1, "The number of trainings, each with its own seed.", lower_bound=1
    )
    seed: int = option(flags.DEFINE_integer, 0, "The seed of the first training.", lower_bound=0)

    @property
    def evaluation(self) -> str:
        """The name of the evaluation in its results file, such as "segment_random"."""
        return self.name if self.init == "pretrained" else f"{self.name}_{self.init}"


@dataclasses.dataclass(frozen=True, eq=False)
class DenseSubject:
    """An encoder, and the splits of a dataset with boxes or masks.

    Attributes:
        encoder_path: where the encoder was loaded from.
        encoder: the Keras model.
        dataset: the name that `load_annotated` knows the dataset by.
        train: the train split.
        test: the test split.
        workdir: Path of the folder for results.
        image_size: the side of the squares that images are scaled into.
    """

    encoder_path: PathLike
    encoder: keras.Model
    dataset: str
    train: AnnotatedDataset
    test: AnnotatedDataset
    workdir: Any
    image_size: int

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """The facts about what is evaluated, as a dict for the results file."""
        splits = {split.images.split: split.images.fingerprint for split in (self.train, self.test)}
        return {
            "encoder": str(self.encoder_path),
            "encoder_fingerprint": encoder_fingerprint(self.encoder),
            "image_size": self.image_size,
            "dataset": self.dataset,
            "dataset_fingerprints": splits,
            "train_images": len(self.train),
            "test_images": len(self.test),
        }

    def backbone(self, settings: DenseSettings, seed: int) -> PyramidBackbone:
        """Returns a new backbone with the weights that the settings ask for.

        Args:
            settings: their `init` decides.
            seed: of random weights.

        Raises:
            ValueError: the encoder has no feature maps of stride 32.
        """
        keras.utils.set_random_seed(seed)
        encoder = keras.models.clone_model(self.encoder)
        if settings.init == "pretrained":
            encoder.set_weights(self.encoder.get_weights())
        backbone = PyramidBackbone(encoder)
        if not {"P2", "P3", "P4", "P5"} <= backbone.pyramid_level_inputs.keys():
            raise UserError(
                f"The encoder {self.encoder_path} has the levels "
                f"{', '.join(backbone.pyramid_level_inputs)}; detectors and segmenters need P2 to "
                "P5, strides of 4 to 32 px. Pretrain an encoder of four stages with "
                '--config.encoder.stem="imagenet".'
            )
        return backbone


def load_dense_subject(
    encoder_path: PathLike,
    dataset: str,
    needs: str,
    data_dir: PathLike | None = None,
    workdir: PathLike | None = None,
    image_size: int | None = None,
) -> DenseSubject:
    """Loads an encoder and a dataset with boxes or masks.

    Args:
        encoder_path: as for `sassl_tf.load_encoder`.
        dataset: as for `load_annotated`.
        needs: "boxes" or "masks".
        data_dir: the folder of prepared TFDS datasets.
        workdir: the folder for results; by default the encoder's own workdir.
        image_size: the side of the images; by default the nearest multiple of 32 to the side that
            the encoder was made for, 64 or more.

    Raises:
        ValueError: no such encoder or dataset, no workdir, a dataset or split without what is
            needed, splits with other classes, a mask with a value that has no name, or a side that
            is no multiple of 32.
    """
    folder = result_workdir(encoder_path, workdir)
    if image_size and image_size % STRIDE:
        raise UserError(f"The image size is {image_size}; give a multiple of {STRIDE}.")
    train, test = (load_annotated(dataset, split, data_dir, needs) for split in ("train", "test"))
    for split in (train, test):
        if (split.boxes if needs == "boxes" else split.read_mask) is None:
            raise UserError(f"The dataset {dataset} has no {needs}; give one that has.")
        if needs == "boxes" and not (np.asarray(split.classes) >= 0).any():
            raise UserError(
                f"The {split.images.split} split of {dataset} has no object in its "
                f"{len(split)} images; give a dataset whose splits are annotated."
            )
    for part in ("class_names", "mask_names"):
        if [*getattr(train, part)] != [*getattr(test, part)]:
            raise UserError(
                f"The splits of {dataset} have different {part.replace('_', ' ')}, so that a label "
                f"has two meanings: {', '.join(getattr(train, part))} and "
                f"{', '.join(getattr(test, part))}. Give all splits the same names."
            )
    if needs == "masks":
        for split in (train, test):
            check_masks(split)
    encoder = load_encoder(encoder_path)
    side = image_size
    if side is None:
        made_for = default_image_size(encoder_path, encoder)
        side = max(2 * STRIDE, round(made_for / STRIDE) * STRIDE)
    return DenseSubject(encoder_path, encoder, dataset, train, test, folder, side)


def check_masks(dataset: AnnotatedDataset) -> None:
    """Reads all masks once.

    Raises:
        ValueError: a mask has a value that is neither that of a class nor `IGNORED`.
    """

    @tf.autograph.experimental.do_not_convert
    def largest(index: tf.Tensor) -> tf.Tensor:
        mask = dataset.mask(index)
        return tf.reduce_max(tf.where(mask == IGNORED, tf.zeros_like(mask), mask))

    indices = tf.data.Dataset.range(len(dataset))
    values = indices.map(largest, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    count = len(dataset.mask_names)
    with naming_damaged(dataset.images):
        for index, value in enumerate(values.as_numpy_iterator()):
            if value >= count:
                files = dataset.images.files
                which = f" ({files[index]})" if len(files) else ""
                raise UserError(
                    f"The mask of image {index}{which} of the {dataset.images.split} split of "
                    f"{dataset.images.name} has the value {value}; expected 0 to {count - 1}, for "
                    f"{', '.join(dataset.mask_names)}, or {IGNORED} for pixels of no class."
                )


def define_dense_flags(settings_class: type[DenseSettings]) -> None:
    """Defines the flags of a detection or segmentation: encoder, dataset, results and settings."""
    define_encoder_flags(frozen=False)
    define_result_flags()
    flags.DEFINE_string(
        "dataset",
        None,
        "The dataset with boxes or masks: shapes, voc:PATH (as PASCAL VOC's) or tfds:NAME.",
        required=True,
    )
    define_settings_flags(settings_class)


def dense_subject_from_flags(needs: str) -> DenseSubject:
    """Loads the `DenseSubject` that the flags of `define_dense_flags` name."""
    values = flags.FLAGS
    return load_dense_subject(
        values.encoder,
        values.dataset,
        needs,
        values.data_dir,
        values.workdir,
        values.image_size,
    )


def prepared(
    dataset: AnnotatedDataset, index: tf.Tensor, side: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scales an image into a square by its longer side; black fills the rest, right and below.

    Args:
        dataset: an `AnnotatedDataset`.
        index: int64 [].
        side: of the square, in pixels.

    Returns:
        The image float32 [side, side, 3] in [0, 1]; the share of the square that it takes, (x, y)
        float32 [2]; and its mask uint8 [side, side], `IGNORED` beside the image, or all of it if
        the dataset has no masks.
    """
    image = dataset.images.image(index)
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.maximum(1.0, tf.round(shape * (side / tf.reduce_max(shape))))
    size = tf.cast(scaled, tf.int32)
    resized = tf.image.resize(tf.cast(image, tf.float32), size, "bicubic", antialias=True)
    rest = [[0, side - size[0]], [0, side - size[1]]]
    filled = tf.pad(tf.clip_by_value(resized / 255.0, 0, 1), [*rest, [0, 0]])
    if dataset.read_mask is None:
        mask = tf.fill([side, side], tf.constant(IGNORED, tf.uint8))
    else:
        nearest = tf.image.resize(dataset.mask(index)[..., None], size, "nearest")[..., 0]
        mask = tf.pad(nearest, rest, constant_values=IGNORED)
    filled = tf.ensure_shape(filled, [side, side, 3])
    return filled, scaled[::-1] / side, tf.ensure_shape(mask, [side, side])


def training_examples(dataset: AnnotatedDataset, side: int, seed: int) -> tf.data.Dataset:
    """Returns an endless `tf.data.Dataset` of prepared images, half of them mirrored.

    Args:
        dataset: an `AnnotatedDataset`.
        side: of the images.
        seed: of the mirroring and of the order, which is another one in each epoch.

    Returns:
        A dataset of {"images": float32 [side, side, 3] in [0, 1], "boxes": float32 [M, 4] in
        pixels, -1 where there is none, "classes": float32 [M], "masks": uint8 [side, side]}.
    """
    count = len(dataset)
    none = np.zeros((count, 0)), np.zeros((count, 0, 4))
    classes = tf.constant(none[0] if dataset.classes is None else dataset.classes, tf.float32)
    boxes = tf.constant(none[1] if dataset.boxes is None else dataset.boxes, tf.float32)

    @tf.autograph.experimental.do_not_convert
    def load(position: tf.Tensor) -> dict[str, tf.Tensor]:
        _, index = shuffled_index(position, count, count, seed)
        image, share, mask = prepared(dataset, index, side)
        own_seed = tf.random.fold_in(tf.constant([seed, 2]), position)
        mirrored = tf.random.stateless_uniform([], own_seed) < 0.5
        corners = boxes[index] * tf.tile(share, [2]) * side
        x0, y0, x1, y1 = tf.unstack(corners, axis=-1)
        swapped = tf.stack([side - x1, y0, side - x0, y1], axis=-1)
        is_there = classes[index][:, None] >= 0
        return {
            "images": tf.where(mirrored, image[:, ::-1], image),
            "boxes": tf.where(is_there, tf.where(mirrored, swapped, corners), -1.0),
            "classes": classes[index],
            "masks": tf.where(mirrored, mask[:, ::-1], mask),
        }

    positions = tf.data.Dataset.range(tf.int64.max)
    return positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def test_batches(subject: DenseSubject) -> Iterator[tuple[tf.Tensor, ...]]:
    """Yields the test split in batches: (index [B], and what `prepared` returns of each image).

    Raises:
        DamagedImages: images are gone or damaged since they were listed.
    """

    @tf.autograph.experimental.do_not_convert
    def load(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return index, *prepared(subject.test, index, subject.image_size)

    indices = tf.data.Dataset.range(len(subject.test))
    examples = indices.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    with naming_damaged(subject.test.images):
        yield from examples.batch(PREDICTED)


def fine_tune(
    model: keras.Model,
    loss: Callable[[dict[str, tf.Tensor]], tf.Tensor],
    subject: DenseSubject,
    settings: DenseSettings,
    seed: int,
    drops: tuple[float, float],
) -> None:
    """Trains a detector or segmenter.

    Args:
        model: the Keras model.
        loss: function of a batch of `training_examples`; returns the loss [].
        subject: its train split is used.
        settings: batch, steps, learning rate and weight decay.
        seed: of the order of the images and the mirroring.
        drops: the shares of the steps after which the learning rate falls to a tenth.

    Raises:
        ValueError: the loss is no longer finite.
    """
    optimizer = TorchSGD(
        step_schedule(settings.learning_rate, settings.steps, drops),
        weight_decay=settings.weight_decay,
        global_clipnorm=10.0,  # as KerasCV trains its detectors
    )
    optimizer = with_loss_scale(optimizer, model)
    variables = model.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(batch)
        optimizer.apply(gradients_of(tape, value, optimizer, variables), variables)
        return value

    examples = training_examples(subject.train, subject.image_size, seed)
    batches = examples.batch(settings.batch_size, drop_remainder=True).take(settings.steps)
    with naming_damaged(subject.train.images):
        for number, batch in enumerate(batches.prefetch(tf.data.AUTOTUNE), start=1):
            value = step(batch)
            if number % LOG_EVERY and number < settings.steps:
                continue
            if not np.isfinite(float(value)):
                raise UserError(
                    f"The loss is {float(value)} after step {number} at the learning rate "
                    f"{settings.learning_rate:g}; give a smaller one."
                )
            say(f"step {number}/{settings.steps}  loss {float(value):.4g}")


def step_schedule(
    peak: float, steps: int, drops: tuple[float, float]
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the schedule of `fine_tune`: a warm-up, then a fall to a tenth after each drop."""
    warm_up = max(1, steps // 100)
    rising = [peak * (number + 0.5) / 10 for number in range(10)]  # ten stairs of a warm-up
    stairs = [warm_up * (number + 1) / 10 for number in range(10)]
    # Keras takes a boundary for the last step of what comes before it.
    bounds = [max(0, round(bound) - 1) for bound in (*stairs, *(drop * steps for drop in drops))]
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        bounds, [*rising, peak, peak / 10, peak / 100]
    )


def over_seeds(
    subject: DenseSubject,
    settings: DenseSettings,
    trial: Callable[[int], dict[str, float]],
) -> dict[str, Any]:
    """Does the trainings of all seeds, writes one result of them and returns its content.

    It replaces an earlier result, of these or other seeds.

    Args:
        subject: the `DenseSubject`.
        settings: its settings.
        trial: function of a seed; returns {metric: value}. One that was done before is not done
            again.
    """
    scores = []
    for seed in range(settings.seed, settings.seed + settings.trials):
        key = {name: subject.facts[name] for name in IDENTITY}
        key |= {"evaluation": settings.evaluation, "trial": seed}
        # A training is the same with whichever seed the trials begin.
        shared = dataclasses.asdict(settings).items()
        key["settings"] = {k: v for k, v in shared if k not in ("trials", "seed")}
        key["revision"] = revision_of(settings.evaluation)
        scores.append(remembered(subject.workdir / "trials", key, functools.partial(trial, seed)))
        shown = ", ".join(f"{name} {value:.2%}" for name, value in scores[-1].items())
        say(f"{settings.evaluation}, seed {seed}: {shown}")
    result = {
        "evaluation": settings.evaluation,
        "revision": revision_of(settings.evaluation),
        **over_trials(scores),
        "settings": dataclasses.asdict(settings),
        **subject.facts,
        "command": this_command(),
        "versions": versions(),
    }
    write_json(subject.workdir / result_name(settings.evaluation, subject.dataset), result)
    return result


def shown(result: Mapping[str, Any]) -> str:
    """Returns the metrics of a result, what `over_seeds` returned, as text."""
    parts = dense_metrics(result)
    start = "pretrained weights" if result["settings"]["init"] == "pretrained" else "random weights"
    return (
        f"On {result['dataset']} from {start}: {', '.join(parts)}\n"
        f"  {result['trials']} training(s) of {result['settings']['steps']} steps; "
        f"{result['train_images']} train images, {result['test_images']} test images of "
        f"{result['image_size']} px"
    )
