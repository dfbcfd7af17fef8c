"""Features of a folder in a file, and the search for similar images, as functions and commands."""

import json
import shutil

import numpy as np
import pytest
from pyarrow import parquet

from evaluation import extract
from evaluation.extract import check_output, frozen_encoder, write_features
from evaluation.retrieve import draw, retrieve
from sassl_tf import plot
from sassl_tf.datasets.folder import every_image, image_files
from sassl_tf.representation.features import prepare_image
from tests import commands
from tests.evaluation.tiny import tiny_encoder, write_class_folders


@pytest.fixture
def workdir(tmp_path):
    """A pretraining workdir with a folder `photos`: three colours, each in a folder of its own."""
    write_class_folders(tmp_path / "all", train=4, test=1)
    shutil.move(tmp_path / "all" / "train", tmp_path / "photos")
    tiny_encoder().save(tmp_path / "encoder.keras")
    (tmp_path / "config.json").write_text(json.dumps({"image_size": 16}))
    return tmp_path


def test_the_command_writes_features_and_names(workdir):
    output = workdir / "out" / "photos.npz"
    done = commands.run(
        "evaluation.extract",
        f"--encoder={workdir}",
        f"--images={workdir / 'photos'}",
        f"--output={output}",
        "--extract_batch_size=5",
    )
    assert done.returncode == 0, done.stderr
    assert "12 images, 6 features each" in done.stdout
    with np.load(output) as stored:  # without pickle, as NumPy reads it by default
        files, features = stored["files"].tolist(), stored["features"]
        facts = json.loads(str(stored["facts"]))
    assert files == sorted(f"class{c}/{i}.png" for c in range(3) for i in range(4))
    assert (facts["image_size"], features.dtype) == (16, np.float32)
    frozen = frozen_encoder(workdir)
    assert facts["encoder_fingerprint"] == frozen.facts["encoder_fingerprint"]
    # One image by hand: the file of that name, decoded, prepared, through the encoder.
    image = image_files([workdir / "photos" / files[7]]).image(0)
    expected = frozen.encoder(prepare_image(image, 16)[None])
    np.testing.assert_allclose(features[7], expected[0], rtol=1e-5)


def test_parquet_has_a_row_for_each_image(monkeypatch, tmp_path):
    monkeypatch.setattr(extract, "ROWS_OF_A_GROUP", 3)  # groups of 3 and 2
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    files = [*"abcd", "caf\udce9.png"]  # a name that is no UTF-8
    write_features(tmp_path / "f.parquet", files, features, {"image_size": 8})
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table["file"].to_pylist() == [*"abcd", r"caf\xe9.png"]
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), np.float32), features)
    assert json.loads(table.schema.metadata[b"facts"]) == {"image_size": 8}


def test_an_unknown_format_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"'f.csv'; give a name that ends with .npz or .parquet"):
        check_output("f.csv")


def test_similar_images_are_found_without_the_query_itself(workdir):
    photos = workdir / "photos"
    frozen = frozen_encoder(workdir)
    images = every_image(photos)
    queries = image_files([photos / "class1" / "2.png", workdir / "all" / "test/class2/0.png"])
    found = retrieve(frozen, queries, images, photos, count=3)
    names = [[images.files[position] for position, _ in row] for row in found]
    assert sorted(names[0]) == [f"class1/{i}.png" for i in (0, 1, 3)]
    assert len(names[1]) == 3 and all(name.startswith("class2/") for name in names[1])
    assert all(row == sorted(row, key=lambda pair: -pair[1]) for row in found)
    picture = draw(frozen, queries, images, found)
    titles = [axis.get_title() for axis in picture.axes]
    assert titles[0] == titles[4] == "query" and titles[1] == f"{found[0][0][1]:.3f}"
    assert plot.pixels(picture).std() > 10
    [kept] = (workdir / "features").iterdir()  # of the folder, for the next query
    assert kept.suffix == ".npy"


def test_a_folder_of_the_query_alone_is_told(workdir):
    photo = workdir / "photos" / "class0" / "0.png"
    (workdir / "one").mkdir()
    shutil.copy(photo, workdir / "one")
    query = image_files([workdir / "one" / "0.png"])
    with pytest.raises(ValueError, match="has no other image than the query"):
        retrieve(frozen_encoder(workdir), query, every_image(workdir / "one"), workdir / "one", 2)


def test_a_query_that_is_no_image_is_told(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"missing.png.*no such file, or no readable image"):
        image_files([tmp_path / "text.jpg", tmp_path / "missing.png"])
    with pytest.raises(ValueError, match="No image file is given"):
        image_files([])


def test_the_command_draws_and_prints(workdir):
    query = workdir / "photos" / "class1" / "0.png"
    done = commands.run(
        "evaluation.retrieve",
        f"--encoder={workdir}",
        f"--query={query}",
        f"--images={workdir / 'photos'}",
        f"--output={workdir / 'n.png'}",
        "--count=2",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("class1/") == 3  # the query and two more
    assert (workdir / "n.png").stat().st_size > 1000
