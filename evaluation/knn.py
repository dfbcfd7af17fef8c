"""Weighted k-nearest-neighbour classification on the frozen features of an encoder.

    python -m evaluation.knn --encoder=runs/simclr --dataset=shapes

Wu et al. 2018 (arXiv 1805.01978): each of the k train images of the highest cosine similarity s
votes for its class with weight exp(s / T). k is 200, or 20 where there are fewer than 10,000 train
images; T is 0.1, as in lightly's benchmarks. DINO's evaluation has T = 0.07 and tries k from 10 to
200. Nothing is trained and nothing is chosen.

Results go to `knn-DATASET-HASH.json` in the workdir.
"""

import dataclasses
from typing import Any

from absl import flags

from evaluation.flags import define_flags, evaluate_from_flags
from evaluation.results import accuracies, write_result
from evaluation.settings import EvaluationSettings, option
from evaluation.subject import Subject
from sassl_tf.errors import UserError
from sassl_tf.representation.knn import capped, default_k, knn_predict
from training.command import binary


@dataclasses.dataclass(frozen=True)
class Settings(EvaluationSettings):
    """The settings of the kNN evaluation.

    Attributes:
        k: the number of neighbours; None: `default_k` of the number of train images.
        temperature: T, as for `knn_predict`.
    """

    name = "knn"
    k: int | None = option(
        flags.DEFINE_integer,
        None,
        "The number of neighbours; by default 200, or 20 with fewer than 10,000 train images.",
        lower_bound=1,
    )
    temperature: float = option(
        flags.DEFINE_float, 0.1, "The temperature T of the votes' weights exp(similarity / T)."
    )

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise UserError(
                f"The temperature is {self.temperature}; expected a number greater than 0."
            )


def run(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Runs the kNN evaluation and writes the result.

    Args:
        subject: the `Subject` to evaluate.
        settings: `Settings`.

    Returns:
        The content of the results file, a dict.
    """
    count = len(subject.train)
    k = capped(default_k(count) if settings.k is None else settings.k, count)
    predictions = knn_predict(
        subject.train_features,
        subject.train.labels,
        subject.test_features,
        len(subject.class_names),
        k,
        settings.temperature,
    )
    outcome = {
        **accuracies(subject.test.labels, predictions),
        "k": k,
        "temperature": settings.temperature,
    }
    return write_result(subject, settings, outcome)


def _report(result):
    print(
        f"kNN on {result['dataset']}: accuracy {result['accuracy']:.2%}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  k {result['k']}, temperature {result['temperature']:g}; "
        f"{result['train_images']} train images, {result['test_images']} test images"
    )


def main(_: list[str]) -> None:
    evaluate_from_flags(Settings, run, _report)


if __name__ == "__main__":
    define_flags(Settings)
    binary.run(main)
