"""Style banks: the style codes of a dataset, computed once (the paper's external styles)."""

from __future__ import annotations

import base64
import os
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sassl_tf.datasets.dataset import ImageDataset, naming_damaged
from sassl_tf.datasets.folder import every_image
from sassl_tf.errors import FileError, UserError
from sassl_tf.files import local_file, replacing
from sassl_tf.refusals import reason
from sassl_tf.saved_config import fields
from sassl_tf.stylizers.stylizer import Stylizer
from sassl_tf.typing import Array, PathLike


class StyleBank:
    """The codes z_s of a style dataset, and the stylizer that made them.

    Args:
        codes: float [N, code_size], N from 1.
        fingerprint: of the stylizer whose F made the codes.

    Raises:
        ValueError: `codes` has not two axes, is empty, or holds a value that is not finite, or
            beyond ±`LARGEST_CODE`.
    """

    DEFAULTS = ("compact",)  # stylizers that have a bank in the package
    LARGEST_CODE = 1e6  # in absolute value; T squares numbers some hundred times as large

    def __init__(self, codes: ArrayLike, fingerprint: str) -> None:
        with np.errstate(over="ignore"):  # it becomes infinite, which is refused below
            codes = np.array(codes, np.float32)  # its own, which nobody changes after the checks
        if codes.ndim != 2 or not codes.size:
            raise UserError(f"codes has shape {codes.shape}; expected [N, code_size], N > 0.")
        if not np.isfinite(codes).all():
            rows = np.flatnonzero(~np.isfinite(codes).all(axis=1))
            raise UserError(
                f"The codes of {len(rows)} images are not finite (the first is number {rows[0]})."
            )
        if np.abs(codes).max() > self.LARGEST_CODE:
            raise UserError(
                f"codes has values up to {np.abs(codes).max():.3g}; an image's code has values of "
                f"about 1, and those beyond {self.LARGEST_CODE:g} make T overflow."
            )
        self.codes = codes
        self.fingerprint = str(fingerprint)

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        return f"<StyleBank of {len(self)} codes by stylizer {self.fingerprint}>"

    @classmethod
    def from_images(
        cls,
        images: Array | tf.data.Dataset | ImageDataset | PathLike,
        stylizer: Stylizer,
        batch_size: int = 32,
    ) -> StyleBank:
        """Encodes style images.

        Each image is resized so that its shorter side is the stylizer's `style_size` (bilinear,
        antialiased), and its centre is cut out.

        Args:
            images: array [N, H, W, 3], uint8 or float in [0, 1]; a `tf.data.Dataset` of such
                images, batched or not, which may be in dicts under "images" or "image", or first
                in tuples; an `ImageDataset` of `load_dataset`; or a folder, with all image files
                under it.
            stylizer: a `Stylizer`.
            batch_size: number of images in a call of F.

        Raises:
            ValueError: there are no images or no end of them, they are not of the form above,
                `stylizer` is none, or image files were damaged meanwhile.
        """
        from sassl_tf.style_images import style_images

        if isinstance(images, (str, os.PathLike)):
            images = every_image(images)
        listed = [images] if isinstance(images, ImageDataset) else []
        if not isinstance(stylizer, Stylizer):
            raise UserError(
                f"stylizer is {stylizer!r}; expected a Stylizer, as load_stylizer returns it."
            )
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more.")
        size = stylizer.style_size
        dataset = style_images(images, size).batch(batch_size)
        encode = tf.function(stylizer.encode_style, [tf.TensorSpec((None, size, size, 3))])
        codes: list[np.ndarray] = []
        with naming_damaged(*listed):
            for batch in dataset:
                _check_pixels(batch.numpy(), first=len(codes) * batch_size)
                codes.append(encode(batch).numpy())
        if not codes:
            raise UserError("There are no style images to encode.")
        return cls(np.concatenate(codes), stylizer.fingerprint)

    @classmethod
    def default(cls, name: str) -> StyleBank:
        """Returns the bank in the package that a stylizer has; only "compact" has one.

        Raises:
            ValueError: the stylizer has no bank in the package.
        """
        if name not in cls.DEFAULTS:
            raise UserError(
                f'There is no default style bank for the {name} stylizer, only for "compact". '
                "Make one with StyleBank.from_images or `python -m training.build_style_bank`, or "
                'use styles="in_batch".'
            )
        from sassl_tf.stylizers.compact import packaged

        return cls.load(packaged("compact_styles.npz"))

    def save(self, path: PathLike) -> None:
        """Writes an `.npz` file, beside any old one and then in its place."""
        with replacing(path) as beside, open(beside, "wb") as file:
            np.savez(file, codes=self.codes, fingerprint=self.fingerprint)

    @classmethod
    def load(cls, path: PathLike) -> StyleBank:
        """Reads what `save` wrote.

        Raises:
            ValueError: there is no such file, or it holds no style bank.
        """
        try:
            with (
                local_file(path) as local,
                _arrays(np.load(local, allow_pickle=False)) as file,
            ):
                return cls(file["codes"], str(file["fingerprint"]))
        except FileNotFoundError:
            raise UserError(
                f"There is no style bank at {path}. Make one with StyleBank.from_images(...)."
                "save(path) or `python -m training.build_style_bank`."
            ) from None
        except FileError:
            raise  # a bucket that does not answer
        except Exception as error:  # its type depends on the damage
            raise UserError(
                f"{path} holds no style bank: {reason(error)}. Expected the .npz file that "
                "StyleBank.save writes."
            ) from None

    def check_made_by(self, stylizer: Stylizer) -> None:
        """Raises a ValueError unless `stylizer` made this bank, and its codes are as long."""
        if self.fingerprint != stylizer.fingerprint:
            from sassl_tf.stylizers.compact import EARLIER_VERSIONS

            earlier = EARLIER_VERSIONS.get(self.fingerprint)
            known = f" ({earlier})" if earlier else ""
            raise UserError(
                f"The style bank was made by a stylizer with the fingerprint {self.fingerprint}"
                f"{known}, but the {stylizer.name} stylizer's is {stylizer.fingerprint}: its codes "
                "mean nothing to it. Make the bank again with StyleBank.from_images(images, "
                "stylizer)."
            )
        if self.codes.shape[1] != stylizer.code_size:
            raise UserError(
                f"The style bank has codes of {self.codes.shape[1]} numbers, and those of the "
                f"{stylizer.name} stylizer have {stylizer.code_size}. Make the bank again with "
                "StyleBank.from_images(images, stylizer)."
            )

    def get_config(self) -> dict[str, Any]:
        """Returns a dict for JSON with the codes in it: a saved layer needs no other file."""
        return {
            "codes": base64.b64encode(self.codes.astype("<f4").tobytes()).decode(),
            "code_size": self.codes.shape[1],
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StyleBank:
        """Makes the bank that `get_config` described.

        Raises:
            ValueError: the config is damaged.
        """
        kinds = {"codes": str, "code_size": int, "fingerprint": str}
        encoded, code_size, fingerprint = fields(config, kinds, "a style bank")
        try:
            codes = np.frombuffer(base64.b64decode(encoded, validate=True), "<f4")
            codes = codes.reshape(-1, max(1, code_size))
        except ValueError as error:
            raise UserError(
                f"The saved config of a style bank is damaged: its codes are not rows of "
                f"{code_size} numbers ({error})."
            ) from error
        return cls(codes, fingerprint)


def _arrays(loaded: Any) -> Any:
    """Returns what `np.load` returned; raises a ValueError for a single array."""
    if isinstance(loaded, np.ndarray):
        raise UserError(
            f"it is a single array of shape {loaded.shape}, as of a .npy file, which does not say "
            "whose codes these are; StyleBank(array, stylizer.fingerprint) makes a bank of codes"
        )
    return loaded


def _check_pixels(images: np.ndarray, first: int) -> None:
    """Raises a ValueError for images outside [0, 1], of which number `first` is the first."""
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise UserError(
            f"Style image number {first + np.flatnonzero(~finite)[0]} has NaN or infinite pixels."
        )
    low, high = images.min(), images.max()
    if low < -0.001 or high > 1.001:
        raise UserError(
            f"The float images have values from {low:g} to {high:g}; expected [0, 1]. Bring them "
            "there, or pass uint8."
        )
