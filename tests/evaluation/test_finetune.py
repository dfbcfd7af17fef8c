"""Fine-tuning: what is trained, what is chosen by what, and shares of the labels."""

import json
import shutil

import keras
import numpy as np
import pytest

from evaluation import finetune as module
from evaluation.finetune import Settings, labelled_share, train
from evaluation.subject import load_subject
from sassl_tf.datasets import load_dataset
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders


@pytest.fixture
def run(tmp_path):
    write_class_folders(tmp_path / "data")
    tiny_encoder().save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 16}))
    return tmp_path


def evaluate(run, image_size=None, crop_proportion=0.875, **settings):
    spec = f"folder:{run / 'data'}"
    subject = load_subject(run, spec, image_size=image_size, crop_proportion=crop_proportion)
    return module.run(subject, Settings(**settings))


def test_a_share_of_each_class():
    labels = np.repeat([0, 1, 2], [200, 30, 4])
    kept = labelled_share(labels, 0.1)
    assert np.bincount(labels[kept]).tolist() == [20, 3, 1]
    np.testing.assert_array_equal(kept, labelled_share(labels, 0.1))
    assert len(labelled_share(labels, 1.0)) == 234


def test_encoder_and_head_are_both_trained(run):
    dataset = load_dataset(f"folder:{run / 'data'}")
    encoder = tiny_encoder()
    before = [v.numpy() for v in encoder.trainable_variables]
    classifier = train(encoder, dataset, 16, Settings(steps=30, batch_size=10), 0.1, 1e-4)
    for old, new in zip(before, encoder.trainable_variables, strict=True):
        assert np.abs(old - new).max() > 1e-4
    assert classifier.output_shape == (None, 3)
    norms = [m for m in encoder.layers if isinstance(m, keras.layers.BatchNormalization)]
    assert norms[0].momentum == 0.9  # 3 steps an epoch
    few = Settings(steps=20, batch_size=10)
    assert train(tiny_encoder(), dataset, 16, few, 1e30, 1e-4) is None


def test_dropout_is_of_the_seed(run):
    images = keras.Input((16, 16, 3))
    dropped = keras.layers.Dropout(0.5)(tiny_encoder()(images))  # without a seed of its own
    keras.Model(images, dropped).save(run / "encoder.keras")
    subject = load_subject(run, f"folder:{run / 'data'}")
    dataset = load_dataset(f"folder:{run / 'data'}")
    seen = []

    def keep(classifier, *_):
        seen.append(np.concatenate([w.ravel() for w in classifier.get_weights()]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "score", keep)
        for global_seed, seed in ((5, 0), (6, 0), (5, 1)):
            keras.utils.set_random_seed(global_seed)
            settings = Settings(steps=3, batch_size=10, seed=seed)
            module._train_and_score(subject, settings, (0.1, 0.0), dataset, dataset)
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)
    assert np.abs(seen[0] - seen[2]).max() > 1e-3


def test_the_pair_is_chosen_on_validation_data_alone(run, monkeypatch):
    """The scores of the grid are those that the held-out images get; the best is trained again."""
    seen = []

    def train_nothing(encoder, dataset, image_size, settings, *pair):
        seen.append((len(dataset), pair))
        return pair

    def score_by_pair(pair, subject, dataset):
        value = {0.1: 0.5, 0.2: 0.9, 0.3: None}[pair[0]]
        seen.append((dataset.split, len(dataset)))
        return dict.fromkeys(("accuracy", "mean_per_class_accuracy", "quadratic_kappa"), value)

    monkeypatch.setattr(module, "train", train_nothing)
    monkeypatch.setattr(module, "score", score_by_pair)
    result = evaluate(run, learning_rates=(0.1, 0.2), weight_decays=(0.0,))
    fitted, held_out, whole, test = 24, ("train", 6), 30, ("test", 12)
    assert seen == [
        *[(fitted, (0.1, 0.0)), held_out, (fitted, (0.2, 0.0)), held_out],
        *[(whole, (0.2, 0.0)), test],
    ]
    assert (result["learning_rate"], result["grid"]) == (0.2, [(0.1, 0.0, 0.5), (0.2, 0.0, 0.9)])


def test_a_share_is_all_that_is_trained_on(run, monkeypatch):
    """The validation split chooses, with all its labels, and is not trained on."""
    shutil.copytree(run / "data" / "test", run / "data" / "val")
    seen = []

    def train_nothing(encoder, dataset, *arguments):
        seen.append(len(dataset))
        return arguments

    def score(_, subject, dataset):
        seen.append((dataset.split, len(dataset)))
        return dict.fromkeys(("accuracy", "mean_per_class_accuracy", "quadratic_kappa"), 0.5)

    monkeypatch.setattr(module, "train", train_nothing)
    monkeypatch.setattr(module, "score", score)
    grid = {"learning_rates": (0.1, 0.2), "weight_decays": (0.0,)}
    result = evaluate(run, label_share=0.1, **grid)
    assert seen == [3, ("validation", 12)] * 2 + [3, ("test", 12)]
    assert result["labelled_images"] == 3
    seen.clear()
    assert evaluate(run, **grid)["labelled_images"] == 42
    assert seen == [30, ("validation", 12)] * 2 + [42, ("test", 12)]


def test_what_does_not_fit_shows_before_the_first_training(run, monkeypatch):
    monkeypatch.setattr(module, "train", None)  # calling it would raise
    with pytest.raises(ValueError, match=r"crop proportion is 2"):
        evaluate(run, crop_proportion=2)
    encoder = tiny_encoder(side=16)
    encoder.set_weights([np.full_like(weight, np.nan) for weight in encoder.get_weights()])
    encoder.save(run / "encoder.keras")
    with pytest.raises(ValueError, match="NaN or infinite"):
        evaluate(run)
    with pytest.raises(ValueError, match="image size is 32, and the encoder takes images of 16"):
        evaluate(run, image_size=32)


def test_it_learns_and_diverged_rates_are_passed_over(run):
    grid = {"learning_rates": (1e30, 0.1), "weight_decays": (1e-4,)}
    result = evaluate(run, steps=60, batch_size=10, label_share=0.5, **grid)
    assert result["accuracy"] == 1.0 and result["learning_rate"] == 0.1
    assert result["grid"][0] == (1e30, 1e-4, None) and result["labelled_images"] == 15
    [file] = run.glob("finetune_0.5-folder-*.json")
    assert json.loads(file.read_text())["accuracy"] == 1.0
    with pytest.raises(ValueError, match=r"Every training diverged.*1e\+30"):
        rates = {"learning_rates": (1e30, 1e31), "weight_decays": (1e-4,)}
        evaluate(run, steps=5, batch_size=10, **rates)
    with pytest.raises(ValueError, match="label_share is 0"):
        evaluate(run, label_share=0)


def test_the_binary(run):
    flags = [f"--encoder={run}", f"--dataset=folder:{run / 'data'}", "--steps=40"]
    flags += ["--learning_rates=0.1", "--weight_decays=0", "--batch_size=10"]
    done = commands.run("evaluation.finetune", *flags)
    assert "30 labelled images, 12 test images" in done.stdout, done.stderr
