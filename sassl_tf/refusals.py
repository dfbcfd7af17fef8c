"""Messages for files that NumPy and Keras refuse to read for safety."""


def reason(error: Exception) -> str:
    """Returns why a file could not be read, for an error message of ours.

    NumPy and Keras refuse files that could run code, and name the option that allows it. Users who
    got such a file from elsewhere should not turn it on, so these messages are reworded.

    Args:
        error: an exception of `numpy.load` or `keras.saving.load_model`.

    Returns:
        A clause without a full stop. Of any other error it is the error's own message.
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
