"""Self-supervised methods, one file each."""


def build_method(config, encoder):
    """The method that a config names, as a Keras model around an encoder.

    Raises:
        ValueError: an unknown method.
    """
    if config.method == "simclr":
        from training.methods.simclr import SimCLR

        return SimCLR(encoder, **config.simclr)
    raise ValueError(f'method is {config.method!r}; there is "simclr".')
