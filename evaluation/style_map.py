r"""Draws a map of the styles of several datasets, and ranks them by how near they are to yours.

    python -m evaluation.style_map --output=styles --datasets=folder:photos,folder:paintings \
        --target=folder:photos

One stylizer computes the style code z = F(image) of every image. All codes are shown on one plane
by t-SNE, as in the figure of SASSL's paper (arXiv 2312.01187), and by PCA, in which distances mean
more. Two distances between datasets are computed as well: Fréchet's distance of the codes, and the
overlap of nearest neighbours (evaluation/style_distance.py). `--target` names the dataset you train
on: the others are ranked by how near they are to it. No ranking says whether near or far styles
serve a training better: the paper found no style dataset best for every target.

Writes `style_map.png`, `style_map.md` and `style_map.json` into the output folder.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from evaluation.markdown import table
from evaluation.style_distance import frechet_distance, neighbour_overlap
from sassl_tf import StyleBank, Stylizer, load_stylizer, plot
from sassl_tf.datasets import load_dataset
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from sassl_tf.paths import as_path
from sassl_tf.typing import PathLike
from training.command import binary
from training.report.logs import say

MAX_IMAGES = 500  # of each dataset


def style_codes(
    spec: str, stylizer: Stylizer, max_images: int = MAX_IMAGES, data_dir: str | None = None
) -> np.ndarray:
    """Computes the style codes of a dataset's train images.

    Args:
        spec: the dataset, for `load_dataset`.
        stylizer: the `Stylizer` whose F makes the codes.
        max_images: how many images at most; they are drawn at random with a fixed seed.
        data_dir: the folder of prepared TFDS datasets.

    Returns:
        float32 [N, code_size].
    """
    dataset = load_dataset(spec, "train", data_dir)
    drawn = np.random.default_rng(0).permutation(len(dataset))[:max_images]
    return StyleBank.from_images(dataset.subset(np.sort(drawn)), stylizer).codes


def distances(codes_by_dataset: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Computes the distances of all pairs of datasets.

    Args:
        codes_by_dataset: {name: codes, float [N, code_size]}.

    Returns:
        A list of {"datasets": [name, name], "frechet_distance", "neighbour_overlap"}.
    """
    names = list(codes_by_dataset)
    return [
        {
            "datasets": [one, other],
            "frechet_distance": frechet_distance(codes_by_dataset[one], codes_by_dataset[other]),
            "neighbour_overlap": neighbour_overlap(codes_by_dataset[one], codes_by_dataset[other]),
        }
        for number, one in enumerate(names)
        for other in names[number + 1 :]
    ]


def ranking(rows: Sequence[dict[str, Any]], target: str) -> list[tuple[str, dict[str, Any]]]:
    """Ranks the other datasets by their Fréchet distance to a target.

    Args:
        rows: what `distances` returns.
        target: the name of the target.

    Returns:
        [(name, row)], the nearest first.
    """
    pairs = [(row["datasets"], row) for row in rows if target in row["datasets"]]
    others = [(next(name for name in names if name != target), row) for names, row in pairs]
    return sorted(others, key=lambda pair: pair[1]["frechet_distance"])


def planes(codes_by_dataset: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Computes points in the plane for all N codes, in the order of the datasets.

    Args:
        codes_by_dataset: {name: codes, float [n, code_size]}.

    Returns:
        {"t-SNE": float [N, 2], "PCA": float [N, 2]}.
    """
    codes = np.concatenate([*codes_by_dataset.values()])
    perplexity = min(30, (len(codes) - 1) / 3)
    return {
        "t-SNE": TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(codes),
        "PCA": PCA(2, random_state=0).fit_transform(codes),
    }


def style_map(
    specs: Sequence[str],
    output: PathLike,
    stylizer: Stylizer,
    target: str | None = None,
    max_images: int = MAX_IMAGES,
    data_dir: str | None = None,
) -> str:
    """Draws the map, measures the distances and writes both.

    Args:
        specs: two datasets or more, for `load_dataset`.
        output: the folder to write into.
        stylizer: the `Stylizer` whose F makes the codes.
        target: one of `specs`, to which the others are compared; or None.
        max_images: how many images of each dataset at most.
        data_dir: the folder of prepared TFDS datasets.

    Returns:
        The Markdown, a str.

    Raises:
        ValueError: fewer than two datasets, one named twice, a target that is not among them, or a
            dataset that cannot be read.
    """
    if len(set(specs)) != len(specs) or len(specs) < 2:
        raise UserError(f"Give two datasets or more, each once, not {', '.join(specs) or 'none'}.")
    if target is not None and target not in specs:
        raise UserError(f"The target {target} is not among the datasets: {', '.join(specs)}.")
    codes = {}
    for spec in specs:
        codes[spec] = style_codes(spec, stylizer, max_images, data_dir)
        say(f"{len(codes[spec])} styles of {spec}")
    rows = distances(codes)
    text = _markdown(rows, codes, stylizer, target)
    content = {
        "stylizer": stylizer.name,
        "fingerprint": stylizer.fingerprint,
        "images": {spec: len(own) for spec, own in codes.items()},
        "distances": rows,
    }
    output = as_path(output)
    plot.save(plot.style_map(_planes_by_dataset(codes)), output / "style_map.png")
    with replacing(output / "style_map.json") as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n")
    with replacing(output / "style_map.md") as beside:
        beside.write_text(text)
    return text


def _planes_by_dataset(codes):
    """Returns {"t-SNE" or "PCA": {dataset: points [n, 2]}}."""
    ends = np.cumsum([len(own) for own in codes.values()])[:-1]
    return {
        name: dict(zip(codes, np.split(points, ends), strict=True))
        for name, points in planes(codes).items()
    }


def _markdown(rows, codes, stylizer, target):
    cells = [
        (
            " – ".join(row["datasets"]),
            f"{row['frechet_distance']:.4g}",
            f"{row['neighbour_overlap']:.2f}",
        )
        for row in rows
    ]
    lines = [
        f"Styles by {stylizer.name} ({stylizer.fingerprint})",
        "",
        table(("datasets", "Fréchet distance", "neighbour overlap"), cells),
    ]
    if target is not None:
        lines += ["", f"Nearest to {target} first:", ""]
        for place, (name, _) in enumerate(ranking(rows, target), start=1):
            lines.append(f"{place}. {name} ({len(codes[name])} images)")
    return "\n".join([*lines, ""])


def main(_: list[str]) -> None:
    values = flags.FLAGS
    stylizer = load_stylizer(values.stylizer, values.weights)
    text = style_map(
        values.datasets,
        values.output,
        stylizer,
        target=values.target,
        max_images=values.max_images,
        data_dir=values.data_dir,
    )
    print(text)
    print(f"Wrote style_map.png, style_map.md and style_map.json in {values.output}.")


if __name__ == "__main__":
    flags.DEFINE_list(
        "datasets",
        None,
        "Two or more datasets with commas: folder:PATH, records:PATTERN, tfds:NAME or shapes.",
        required=True,
    )
    flags.DEFINE_string("output", "styles", "The folder for the map.")
    flags.DEFINE_string("target", None, "The dataset to which the others are compared.")
    flags.DEFINE_string(
        "stylizer",
        "compact",
        "The stylizer that makes the codes: compact, magenta or magenta-mobile.",
    )
    flags.DEFINE_string("weights", None, "The stylizer's weights, if its name is not enough.")
    flags.DEFINE_integer(
        "max_images", MAX_IMAGES, "How many images of each dataset at most.", lower_bound=2
    )
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    binary.run(main)
