"""What NumPy and Keras refuse to read for safety, told without their advice to read it anyway."""


def reason(error):
    """Why a file could not be read, for an error message of ours.

    NumPy and Keras refuse files that could run code, and name the switch that lets them. Whoever
    got the file from elsewhere should not be led there: these refusals get words of their own.

    Args:
        error: an exception of `numpy.load` or `keras.saving.load_model`.

    Returns:
        A clause without a full stop; for any other error what it says itself.
    """
    text = str(error).strip()
    if "pickle" in text:
        return (
            "it holds pickled Python objects or is no array file at all; pickles can run code, so "
            "they are never read"
        )
    if "safe_mode" in text or "unsafe_deserialization" in text:
        return (
            "it holds code, such as a Lambda layer or a SavedModel, which is never run; save the "
            "model again with registered layers in its place"
        )
    return text.rstrip(".") or type(error).__name__
