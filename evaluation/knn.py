"""Weighted k-nearest-neighbour classification on the frozen features of an encoder.

    python -m evaluation.knn --encoder=runs/simclr --dataset=shapes

Wu et al. 2018 (arXiv 1805.01978), as in DINO and lightly: each of the k train images
of the highest cosine similarity s votes for its class with weight exp(s / T). k is 200, or 20 where
there are fewer than 10,000 train images; T is 0.1. Nothing is trained and nothing is chosen.

Results go to `knn-DATASET.json` in the workdir.
"""

from absl import flags

from evaluation.flags import define_encoder_flags, encoder_arguments, tell_next
from evaluation.frozen import accuracies, frozen_features, write_result
from sassl_tf.representation.knn import capped, default_k, knn_predict
from training.command import binary


def evaluate(encoder_path, dataset_spec, *, k=None, temperature=0.1, **preparation):
    """Runs the kNN evaluation of an encoder on a dataset and writes the result.

    Args:
        encoder_path: and `dataset_spec` as for `evaluation.frozen.frozen_features`.
        k: the number of neighbours; by default `default_k` of the train split's size.
        temperature: as for `knn_predict`.
        **preparation: the options of `frozen_features`: `data_dir`, `workdir`, ...

    Returns:
        The content of `knn-DATASET.json`, a dict.
    """
    settings = {"k": k, "temperature": temperature}
    frozen = frozen_features(encoder_path, dataset_spec, **preparation)
    count = len(frozen.train_labels)
    k = capped(default_k(count) if k is None else k, count)
    predictions = knn_predict(
        frozen.train_features,
        frozen.train_labels,
        frozen.test_features,
        len(frozen.class_names),
        k,
        temperature,
    )
    outcome = {
        **accuracies(frozen.test_labels, predictions),
        "k": k,
        "temperature": temperature,
        "settings": settings,
    }
    return write_result("knn", frozen, outcome)


def _report(result):
    print(
        f"kNN on {result['dataset']}: accuracy {result['accuracy']:.2%}, "
        f"mean per class {result['mean_per_class_accuracy']:.2%}\n"
        f"  k {result['k']}, temperature {result['temperature']:g}; "
        f"{result['train_images']} train images, {result['test_images']} test images"
    )


def main(_):
    values = flags.FLAGS
    _report(evaluate(**encoder_arguments(), k=values.k, temperature=values.temperature))
    tell_next()


if __name__ == "__main__":
    define_encoder_flags()
    flags.DEFINE_integer(
        "k",
        None,
        "Neighbours; by default 200, or 20 with fewer than 10,000 train images.",
        lower_bound=1,
    )
    flags.DEFINE_float("temperature", 0.1, "Of the votes' weights exp(similarity / temperature).")
    binary.run(main)
