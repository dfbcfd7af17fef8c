r"""A map of the styles of several datasets, and which of them is nearest to yours.

    python -m evaluation.style_map --output=styles --datasets=folder:photos,folder:paintings \
        --target=folder:photos

Every image's style code z = F(image) by one stylizer; all codes on one plane by t-SNE, as in the
figure of SASSL's paper (arXiv 2312.01187), and by PCA, in which distances mean more. Beside the map
two distances of datasets: Fréchet's, of the codes, and the overlap of nearest neighbours
(evaluation/style_distance.py). `--target` names the dataset you train on: the others are ranked by
how near they are to it. Whether near or far styles serve a training better, no ranking can say: the
paper found no style dataset best for every target.

Writes `style_map.png`, `style_map.md` and `style_map.json` into the output folder.
"""

import json
import pathlib

import numpy as np
from absl import flags
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from evaluation.style_distance import frechet_distance, neighbour_overlap
from sassl_tf import StyleBank, load_stylizer, plot
from sassl_tf.datasets import load_dataset
from sassl_tf.errors import UserError
from sassl_tf.files import replacing
from training.command import binary
from training.report.logs import say

MAX_IMAGES = 500  # of each dataset


def style_codes(spec, stylizer, max_images=MAX_IMAGES, data_dir=None, seed=0):
    """float32 [N, code_size], the codes of (some of) a dataset's train images, drawn at random."""
    dataset = load_dataset(spec, "train", data_dir)
    drawn = np.random.default_rng(seed).permutation(len(dataset))[:max_images]
    return StyleBank.from_images(dataset.subset(np.sort(drawn)), stylizer).codes


def distances(codes_by_dataset):
    """A row for each pair of datasets: {"datasets", "frechet_distance", "neighbour_overlap"}."""
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


def ranking(rows, target):
    """The other datasets, nearest (by Fréchet distance) first: [(name, row)]."""
    pairs = [(row["datasets"], row) for row in rows if target in row["datasets"]]
    others = [(next(name for name in names if name != target), row) for names, row in pairs]
    return sorted(others, key=lambda pair: pair[1]["frechet_distance"])


def planes(codes_by_dataset, seed=0):
    """{"t-SNE": [N, 2], "PCA": [N, 2]} of all codes, in the order of the datasets."""
    codes = np.concatenate([*codes_by_dataset.values()])
    perplexity = min(30, (len(codes) - 1) / 3)
    return {
        "t-SNE": TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(codes),
        "PCA": PCA(2, random_state=seed).fit_transform(codes),
    }


def style_map(specs, output, stylizer, target=None, max_images=MAX_IMAGES, data_dir=None):
    """Draws the map, measures the distances and writes both; returns the Markdown.

    Args:
        specs: two datasets or more, for `load_dataset`.
        output: a folder.
        stylizer: whose F makes the codes.
        target: one of `specs`, for a ranking of the others; or None.
        max_images: of each dataset.
        data_dir: the folder of prepared TFDS datasets.

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

    output = pathlib.Path(output)
    ends = np.cumsum([len(found) for found in codes.values()])[:-1]
    drawn = {
        name: dict(zip(codes, np.split(points, ends), strict=True))
        for name, points in planes(codes).items()
    }
    plot.save(plot.style_map(drawn), output / "style_map.png")
    with replacing(output / "style_map.json") as beside:
        counts = {spec: len(found) for spec, found in codes.items()}
        content = {"stylizer": stylizer.name, "fingerprint": stylizer.fingerprint}
        content.update(images=counts, distances=rows)
        beside.write_text(json.dumps(content, indent=2) + "\n")
    with replacing(output / "style_map.md") as beside:
        beside.write_text(text)
    return text


def _markdown(rows, codes, stylizer, target):
    lines = [
        f"Styles by {stylizer.name} ({stylizer.fingerprint})",
        "",
        "| datasets | Fréchet distance | neighbour overlap |",
        "|---|---|---|",
    ]
    for row in rows:
        numbers = f"{row['frechet_distance']:.4g} | {row['neighbour_overlap']:.2f}"
        lines.append(f"| {' – '.join(row['datasets'])} | {numbers} |")
    if target is not None:
        lines += ["", f"Nearest to {target} first:", ""]
        for place, (name, _) in enumerate(ranking(rows, target), start=1):
            lines.append(f"{place}. {name} ({len(codes[name])} images)")
    return "\n".join([*lines, ""])


def main(_):
    values = flags.FLAGS
    stylizer = load_stylizer(values.stylizer, values.weights)
    arguments = values.target, values.max_images, values.data_dir
    print(style_map(values.datasets, values.output, stylizer, *arguments))
    print(f"Wrote style_map.png, style_map.md and style_map.json in {values.output}.")


if __name__ == "__main__":
    flags.DEFINE_list("datasets", None, "Two or more, for load_dataset.", required=True)
    flags.DEFINE_string("output", "styles", "Folder for the map.")
    flags.DEFINE_string("target", None, "The dataset to which the others are compared.")
    flags.DEFINE_string("stylizer", "compact", "Whose codes: compact, magenta, magenta-mobile.")
    flags.DEFINE_string("weights", None, "Of the stylizer, where its name is not enough.")
    flags.DEFINE_integer("max_images", MAX_IMAGES, "Of each dataset.", lower_bound=2)
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    binary.run(main)
