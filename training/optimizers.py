"""The optimizers of the self-supervised recipes, and their learning-rate schedule."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops
from ml_collections import ConfigDict

from sassl_tf.errors import UserError


class MomentumOptimizer(keras.optimizers.Optimizer):
    """The part that both optimizers share: a velocity of each weight, and a weight decay.

    Keras's own weight decay is apart from the gradient. This one is added to it, in `update_step`.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: m.
        weight_decay: λ.
        name: of the optimizer.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        momentum: float,
        weight_decay: float,
        name: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=None, name=name, **kwargs)
        self.momentum = momentum
        self.decay = weight_decay

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = [self.add_variable_from_reference(v, "velocity") for v in variables]

    def get_config(self) -> dict[str, Any]:
        own = {"momentum": self.momentum, "weight_decay": self.decay}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="sassl_tf")
class LARS(MomentumOptimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017), as google-research/simclr uses it.

    For a weight w with gradient g: g ← g + λ·w; g ← η·‖w‖/‖g‖·g; v ← m·v + lr·g; w ← w - v.
    Vectors (biases, a normalisation's γ and β) are neither decayed nor adapted. Source:
    tf2/lars_optimizer.py, which excludes them by their names.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: m.
        weight_decay: λ.
        trust_coefficient: η.
        vector_rate: the learning rate of vectors, as a share of that of the other weights.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust_coefficient: float = 1e-3,
        vector_rate: float = 1.0,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, momentum, weight_decay, name, **kwargs)
        self.trust_coefficient = trust_coefficient
        self.vector_rate = vector_rate

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._vectors = [is_vector(v) for v in variables]

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        if self._vectors[index]:
            learning_rate = self.vector_rate * learning_rate
        else:
            gradient = gradient + self.decay * variable
            weight_norm, gradient_norm = _norm(variable), _norm(gradient)
            moving = ops.logical_and(weight_norm > 0, gradient_norm > 0)
            safe_norm = ops.where(moving, gradient_norm, 1.0)
            trust = ops.where(moving, self.trust_coefficient * weight_norm / safe_norm, 1.0)
            gradient = trust * gradient
        velocity = self.velocities[index]
        self.assign(velocity, self.momentum * velocity + learning_rate * gradient)
        self.assign_sub(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        own = {"trust_coefficient": self.trust_coefficient, "vector_rate": self.vector_rate}
        return {**super().get_config(), **own}


def clipped(gradient: tf.Tensor, norm: float) -> tf.Tensor:
    """Scales the gradient of one weight down to a norm, if it is larger; 0 clips nothing.

    Each weight is clipped by itself, as in facebookresearch/dino, utils.py. The optimizers do it on
    the gradient of the global batch.
    """
    return gradient * ops.minimum(1.0, norm / (_norm(gradient) + 1e-6)) if norm else gradient


def is_vector(variable: keras.Variable) -> bool:
    """Tells whether a weight is a bias or a vector, such as γ and β of a normalisation.

    Rank alone does not tell: Keras's attention has its biases as matrices, by head.
    """
    return len(variable.shape) < 2 or variable.path.endswith("bias")


def _norm(x):
    """Returns the norm over all axes; `ops.norm` takes two at most, and a kernel has four."""
    return ops.sqrt(ops.sum(ops.square(x)))


@keras.saving.register_keras_serializable(package="sassl_tf")
class TorchSGD(MomentumOptimizer):
    """Stochastic gradient descent as `torch.optim.SGD`, with which MoCo and SimSiam were trained.

    g ← g + λ·w, for every weight; v ← m·v + g; w ← w - lr·v. `keras.optimizers.SGD` differs: its
    weight decay is apart from the gradient, and its v includes the learning rate.

    Args:
        learning_rate: a number or a Keras schedule.
        momentum: m.
        weight_decay: λ.
        constant_for: part of a path, such as "predictor"; weights whose path contains it have
            `constant_rate` as their learning rate (SimSiam, section 4.1). "" for none. If no
            weight has it, `build` raises a ValueError.
        constant_rate: a number.
        decay_vectors: whether biases and the γ and β of normalisations are decayed as well.
        clip_gradient: the largest norm of a weight's gradient, before its decay; 0 for no limit.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.03,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        constant_for: str = "",
        constant_rate: float = 0.0,
        decay_vectors: bool = True,
        clip_gradient: float = 0.0,
        name: str = "torch_sgd",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, momentum, weight_decay, name, **kwargs)
        self.constant_for = constant_for
        self.constant_rate = constant_rate
        self.decay_vectors = decay_vectors
        self.clip_gradient = clip_gradient

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._held = [bool(self.constant_for) and self.constant_for in v.path for v in variables]
        if self.constant_for and not any(self._held):
            networks = ", ".join(dict.fromkeys(v.path.partition("/")[0] for v in variables))
            raise UserError(
                f"optimizer.constant_for is {self.constant_for!r}, and no weight has it in its "
                f"path. The networks are {networks}."
            )
        self._decayed = [self.decay_vectors or not is_vector(v) for v in variables]

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        if self._held[index]:
            learning_rate = self.constant_rate
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = clipped(ops.cast(gradient, variable.dtype), self.clip_gradient)
        if self._decayed[index]:
            gradient = gradient + self.decay * variable
        velocity = self.velocities[index]
        self.assign(velocity, self.momentum * velocity + gradient)
        self.assign_sub(variable, learning_rate * velocity)

    def get_config(self) -> dict[str, Any]:
        own = {
            "constant_for": self.constant_for,
            "constant_rate": self.constant_rate,
            "decay_vectors": self.decay_vectors,
            "clip_gradient": self.clip_gradient,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="sassl_tf")
class AdamW(keras.optimizers.Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017), as vision transformers have it.

    It is `keras.optimizers.AdamW` with a schedule of the decay, with gradients that are clipped
    weight by weight after the replicas' are summed, and with a choice of the weights that decay.
    Each step takes lr·λ·w from a weight, then does Adam's.

    As in Keras, ε = 1e-7 is added to the root of the second moment before its bias is corrected.
    PyTorch, with which the sources of MoCo v3 and DINO train, adds 1e-8 after it. So weights with
    very small gradients take smaller steps here at first.

    Args:
        learning_rate: a number or a Keras schedule.
        weight_decay: λ; the first one if there is another at the end.
        end_weight_decay: λ after `total_steps`, reached by a cosine (DINO, section 3.2); None: λ
            stays.
        total_steps: length of the run.
        decay_vectors: whether biases and the γ and β of normalisations are decayed as well, as in
            MoCo v3 and not in DINO.
        clip_gradient: the largest norm of a weight's gradient; 0 for no limit.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        weight_decay: float = 0.04,
        end_weight_decay: float | None = None,
        total_steps: int = 1,
        decay_vectors: bool = True,
        clip_gradient: float = 0.0,
        name: str = "adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=None, name=name, **kwargs)
        self.decay = weight_decay
        self.end_decay = weight_decay if end_weight_decay is None else end_weight_decay
        self.total_steps = total_steps
        self.decay_vectors = decay_vectors
        self.clip_gradient = clip_gradient

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._decayed = [self.decay_vectors or not is_vector(v) for v in variables]

    def current_weight_decay(self) -> tf.Tensor:
        """Computes λ of the step that comes next."""
        if self.end_decay == self.decay:
            return self.decay
        progress = ops.cast(self.iterations, "float32") / self.total_steps
        cosine = (1 + ops.cos(math.pi * ops.minimum(progress, 1.0))) / 2
        return self.end_decay + (self.decay - self.end_decay) * cosine

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        gradient = clipped(ops.cast(gradient, variable.dtype), self.clip_gradient)
        if self._decayed[self._get_variable_index(variable)]:
            share = ops.cast(learning_rate * self.current_weight_decay(), variable.dtype)
            self.assign_sub(variable, share * variable)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_decay": self.decay,
            "end_weight_decay": self.end_decay,
            "total_steps": self.total_steps,
            "decay_vectors": self.decay_vectors,
            "clip_gradient": self.clip_gradient,
        }


def peak_learning_rate(base: float, scaling: str, batch_size: int) -> float:
    """Scales a learning rate by the global batch size B, as the papers do.

    Args:
        base: the learning rate of the config.
        scaling: "linear" for base·B/256, "sqrt" for base·√B (SimCLR, appendix B.1), "none".
        batch_size: B.

    Raises:
        ValueError: another scaling.
    """
    factors = {"linear": batch_size / 256, "sqrt": batch_size**0.5, "none": 1.0}
    if scaling not in factors:
        raise UserError(
            f"learning_rate_scaling is {scaling!r}; expected one of {', '.join(factors)}."
        )
    return base * factors[scaling]


def warmup_steps_of(config: ConfigDict, total_steps: int, steps_per_epoch: int) -> int:
    """Returns the number of steps of the warm-up, which ends before the last step of the run."""
    return min(round(config.warmup_epochs * steps_per_epoch), total_steps - 1)


def build_optimizer(
    config: ConfigDict, batch_size: int, total_steps: int, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """Builds the optimizer of a config, with linear warm-up from 0 and cosine decay.

    Args:
        config: the section `optimizer` of a pretraining config.
        batch_size: over all replicas.
        total_steps, steps_per_epoch: length of the run and of an epoch.

    Raises:
        ValueError: an unknown optimizer or scaling.
    """
    warmup_steps = warmup_steps_of(config, total_steps, steps_per_epoch)
    peak = peak_learning_rate(config.learning_rate, config.learning_rate_scaling, batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else peak,
        decay_steps=max(1, total_steps - warmup_steps),
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
        alpha=config.end_learning_rate,
    )
    if config.name == "lars":
        return LARS(
            schedule,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            vector_rate=config.vector_rate,
        )
    if config.name == "sgd":
        return TorchSGD(
            schedule,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            constant_for=config.constant_for,
            constant_rate=peak,
            decay_vectors=config.decay_vectors,
            clip_gradient=config.clip_gradient,
        )
    if config.name == "adamw":
        return AdamW(
            schedule,
            weight_decay=config.weight_decay,
            end_weight_decay=config.end_weight_decay or None,
            total_steps=total_steps,
            decay_vectors=config.decay_vectors,
            clip_gradient=config.clip_gradient,
        )
    raise UserError(f'optimizer.name is {config.name!r}; expected "lars", "sgd" or "adamw".')
