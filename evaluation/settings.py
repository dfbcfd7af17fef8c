"""Settings of an evaluation: a frozen dataclass, from which its flags and its records are made."""

import dataclasses
import json
import typing
from collections.abc import Callable, Iterable

from evaluation.subject import Subject
from sassl_tf.datasets import ImageDataset
from sassl_tf.errors import UserError

REQUIRED = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """The base class of the settings of an evaluation, each of them a frozen dataclass.

    The fields that `option` makes are also flags of the evaluation's command.

    Attributes:
        name: the name of the protocol, such as "few_shot".
        UNRECORDED: the fields that do not change results, and are not recorded with them.
        DETAILS: the keys of the result that a study shows beside the metric: numbers, or dicts
            {name: number}, or {name: {metric: number}}.
    """

    name: typing.ClassVar[str]
    UNRECORDED: typing.ClassVar[tuple[str, ...]] = ()
    DETAILS: typing.ClassVar[tuple[str, ...]] = ()

    @property
    def evaluation(self) -> str:
        """The name of the evaluation in its results file, such as "few_shot_10"."""
        return self.name

    def check(self, train: ImageDataset, validation: ImageDataset | None = None) -> None:
        """Checks before an evaluation what `listings` does not see.

        Args:
            train: the labelled train images of the evaluation's dataset.
            validation: its own validation split; None if it has none.

        Raises:
            UserError: images are damaged, or the settings do not fit the train images.
            PackageError: a package is missing.
        """

    def listings(self) -> dict[str, str]:
        """Returns {name: listing} of the images that it reads beside the dataset's own.

        Other images under the same path have another `ImageDataset.listing`, and are another
        evaluation.

        Raises:
            UserError: they are missing.
        """
        return {}

    def recorded(self, subject: Subject) -> dict[str, typing.Any]:
        """Returns the settings as the results file holds them, with `listings` if it has any.

        A result counts as done, and is compared with others, if these are the same.

        Args:
            subject: the `Subject` of the evaluation.

        Returns:
            A dict of what JSON knows.
        """
        fields = {k: v for k, v in dataclasses.asdict(self).items() if k not in self.UNRECORDED}
        if listings := self.listings():
            fields["listings"] = listings
        return json.loads(json.dumps(fields))


def option(
    define: Callable[..., typing.Any],
    default: typing.Any,
    help: str,
    shown: typing.Any = None,
    read: Callable[[typing.Any], typing.Any] | None = None,
    **limits: typing.Any,
) -> typing.Any:
    """Returns a dataclass field that is also a flag.

    Args:
        define: the function of `absl.flags` that defines the flag, such as `DEFINE_integer`.
        default: the default of the field; `REQUIRED` if it has none and its flag must be given.
        help: the flag's help, a sentence.
        shown: the default of the flag, if it is another value than that of the field.
        read: the function from the flag's value to the field's; None if they are the same.
        **limits: other arguments of `define`, such as `lower_bound`.
    """
    arguments = {"default": default if shown is None else shown, "help": help, **limits}
    if default is REQUIRED:
        arguments.update(default=None, required=True)
    flag = {"define": define, "arguments": arguments, "read": read}
    return dataclasses.field(default=default, metadata={"flag": flag})


def numbers(texts: Iterable[str]) -> tuple[float, ...]:
    """Reads the numbers of a flag with commas: ["0.1", "1"] gives (0.1, 1.0).

    Raises:
        ValueError: a text is no number.
    """
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise UserError(
            f"{','.join(texts)} is given where numbers with commas are expected, such as 0.01,0.1."
        ) from None
