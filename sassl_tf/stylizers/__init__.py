"""Stylizers by name."""

from sassl_tf.stylizers.stylizer import Stylizer

__all__ = ["Stylizer", "load_stylizer", "stylizer_from_config"]


def load_stylizer(name, weights=None):
    """Loads F and T.

    Args:
        name: "compact" (own weights, inside the package) or "magenta-mobile" (Magenta's two
            TensorFlow Lite files).
        weights: for "magenta-mobile", the folder that holds the files; for "compact", a
            safetensors file in place of the packaged one.

    Returns:
        A `Stylizer`.

    Raises:
        ValueError: an unknown name, or missing or unfitting weights.
    """
    if name == "compact":
        from sassl_tf.stylizers.compact import load_compact_stylizer

        return load_compact_stylizer(weights)
    if name == "magenta-mobile":
        from sassl_tf.stylizers.mobile import load_mobile_stylizer

        return load_mobile_stylizer(weights)
    known = 'Known are "compact" and "magenta-mobile".'
    if name == "magenta":
        raise ValueError(
            'The "magenta" stylizer (TF Hub magenta/arbitrary-image-stylization-v1-256) is not '
            f"in this version yet. {known}"
        )
    raise ValueError(f"There is no stylizer {name!r}. {known}")


def stylizer_from_config(config):
    """The stylizer that `Stylizer.get_config` described.

    Raises:
        ValueError: its weights are no longer there, or are others than they were.
    """
    stylizer = load_stylizer(config["name"], config["weights"])
    if stylizer.fingerprint != config["fingerprint"]:
        raise ValueError(
            f"The saved {config['name']} stylizer has the fingerprint {config['fingerprint']}, "
            f"the one found now {stylizer.fingerprint}: its weights have changed. Pass the "
            "stylizer it was saved with."
        )
    return stylizer
