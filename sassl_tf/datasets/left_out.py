"""Images that are left out because they cannot be read, alike for files and for records."""

import warnings
from collections.abc import Sequence

from sassl_tf.errors import UserError

FORMATS = "JPEG, PNG, GIF, BMP or WebP"
MOST = 0.01  # the share that may be left out; one image always may


def too_many(bad: int, count: int) -> bool:
    """Returns whether so many unreadable images of `count` are an error."""
    return bad > max(1, MOST * count)


def leave_out(bad: Sequence[str], count: int, where: str) -> None:
    """Warns of images that are left out.

    Args:
        bad: the names of those that cannot be read.
        count: the number of all images.
        where: the dataset in words, such as "files of the train split of /data/pets".

    Raises:
        ValueError: too many cannot be read, or none can.
    """
    if not bad:
        return
    some = ", ".join(bad[:5]) + ", ..." * (len(bad) > 5)
    shown = f"{len(bad)} of {count} {where}: {some}"
    if len(bad) == count:
        raise UserError(f"No image could be read among {shown}. Expected {FORMATS}.")
    if too_many(len(bad), count):
        raise UserError(
            f"Too many are no readable images ({FORMATS}): {shown}. Remove or repair them; up to "
            f"{MOST:.0%} are left out with a warning."
        )
    warnings.warn(f"Left out, because they are no readable images: {shown}", stacklevel=4)
