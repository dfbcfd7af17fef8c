"""Fingerprints of stylizers, and the stylizers in memory by their fingerprints."""

from __future__ import annotations

import hashlib
import weakref
from typing import TYPE_CHECKING

import keras
import numpy as np

from sassl_tf.stylizers.named_weights import named_weights

if TYPE_CHECKING:
    from sassl_tf.stylizers.stylizer import Stylizer

# Loading a saved layer takes its stylizer from here, if it was made before.
_in_memory: weakref.WeakSet[Stylizer] = weakref.WeakSet()


def fingerprint(style_size: int, *networks: keras.Model) -> str:
    """Returns 16 hexadecimal digits that depend on names, shapes and values of all weights."""
    digest = hashlib.sha256(str(style_size).encode())
    for network in networks:
        for name, array in named_weights(network).items():
            digest.update(f"{network.name}/{name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()[:16]


def remember(stylizer: Stylizer) -> None:
    """Lets `find_in_memory` find the stylizer for as long as somebody else holds it."""
    _in_memory.add(stylizer)


def find_in_memory(fingerprint: str, source: str | None) -> Stylizer | None:
    """Returns a stylizer in memory that has the fingerprint, of that source if there is one."""
    matches = [stylizer for stylizer in _in_memory if stylizer.fingerprint == fingerprint]
    return min(matches, key=lambda stylizer: stylizer.source != source, default=None)
