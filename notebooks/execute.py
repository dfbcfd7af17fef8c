"""Executes the notebooks from start to end, each with small settings; the files stay as they are.

    python -m notebooks.execute [--only=1_layer]

The cell that is tagged `parameters` holds what a user sees; a cell that sets `SMALL` follows it in
the copy that runs. An error of a cell, or of a command in one, ends with its output.
"""

import concurrent.futures
import os
import pathlib
import sys
import tempfile

import nbformat
import numpy as np
import tensorflow as tf
from absl import flags
from nbclient import NotebookClient

import sassl_tf
from sassl_tf.errors import UserError
from training.command import binary

FOLDER = pathlib.Path(__file__).parent
SMALL = {
    "1_layer": {"SIZE": 64, "VIEWS": 2, "BATCHES": 2},
    "2_pretrain": {"PRESET": "smoke", "EPOCHS": 0.1, "RUNS": "{folder}/runs"},
    "3_styles": {"SIZE": 64, "BANK": "{folder}/my_styles.npz"},
    "4_paper": {"IMAGE_SIZE": 32, "BATCH_SIZE": 4, "STEPS": 2},
    "5_study": {
        "PRESET": "smoke",
        "EPOCHS": 0.1,
        "SEEDS": [0],
        "WORKDIR": "{folder}/study",
    },
    "6_your_images": {
        "IMAGES": "{folder}/my photos",
        "LABELLED": "{folder}/labelled",
        "PRESET": "smoke",
        "EPOCHS": 2.0,
        "RUNS": "{folder}/runs",
    },
}
_ONLY = flags.DEFINE_enum("only", None, sorted(SMALL), "The name of one.")

CLASSES, PHOTOS, LABELLED = 3, 40, 10  # of `write_photos`: classes, and images of each
SECONDS = 600  # a cell may take
# What `!command` does where the command fails: nothing, unless asked.
STRICT = """
def _strict(command, shell=get_ipython(), run=get_ipython().system):
    command = shell.var_expand(command, depth=1)
    run(command)
    if shell.user_ns.get("_exit_code"):
        raise RuntimeError(f"{command} ended with {shell.user_ns['_exit_code']}")

get_ipython().system = _strict
"""


def small_copy(name, folder):
    """The notebook with a cell of small settings after its parameters, and strict commands.

    Raises:
        ValueError: it has no cell of parameters, or that lacks one that `SMALL` sets.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    tagged = [
        place
        for place, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    ]
    if len(tagged) != 1:
        raise UserError(f"{name} has {len(tagged)} cells tagged parameters; expected one.")
    lines = []
    for parameter, value in SMALL[name].items():
        if f"{parameter} = " not in notebook.cells[tagged[0]].source:
            raise UserError(f"{name} has no parameter {parameter}.")
        value = value.format(folder=folder) if isinstance(value, str) else value
        lines.append(f"{parameter} = {value!r}")
    notebook.cells.insert(tagged[0] + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    return notebook


def write_photos(folder):
    """Writes `my photos`, a few images without classes, and `labelled`, others in class folders.

    They are photographs of Imagenette, where they are beside the project, and else made-up shapes.
    """
    source = pathlib.Path(os.environ.get("SASSL_SHARED", FOLDER.parent.parent / "shared"))
    source = source / "data" / "imagenette128" / "train"
    classes = sorted(source.iterdir())[:CLASSES] if source.is_dir() else range(CLASSES)
    dataset = None if source.is_dir() else sassl_tf.load_dataset("shapes")
    for place, kind in enumerate(classes):
        if dataset is None:
            some = [file.read_bytes() for file in sorted(kind.iterdir())[: PHOTOS + 2 * LABELLED]]
        else:
            chosen = np.flatnonzero(dataset.labels == kind)[: PHOTOS + 2 * LABELLED]
            some = [tf.io.encode_jpeg(dataset.image(i)).numpy() for i in chosen]
        homes = ["my photos"] * PHOTOS
        homes += [
            f"labelled/{split}/{place}" for split in ("train", "test") for _ in range(LABELLED)
        ]
        for number, (data, home) in enumerate(zip(some, homes, strict=True)):
            file = pathlib.Path(folder, home, f"{place}-{number}.jpg")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def execute(name):
    """Runs it as a user would from `notebooks/`; returns the notebook with its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = small_copy(name, folder)
        if "IMAGES" in SMALL[name]:
            write_photos(folder)
        NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(FOLDER)}},
        ).execute()
    return notebook


def main(_):
    names = [_ONLY.value] if _ONLY.value else sorted(SMALL)
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=2)
    for name, notebook in zip(names, pool.map(execute, names), strict=True):
        pictures = sum(
            "image/png" in output.get("data", {})
            for cell in notebook.cells
            for output in cell.get("outputs", ())
        )
        print(f"{name}: {len(notebook.cells) - 2} cells, {pictures} pictures", flush=True)
    unknown = {path.stem for path in FOLDER.glob("*.ipynb")} - {*SMALL}
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))} have no settings in SMALL and were not executed.")


if __name__ == "__main__":
    binary.run(main)
