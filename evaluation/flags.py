"""The flags that the evaluations of frozen features share.

They are defined by a call and not by an import, so that one process (the demo, a test) can import
several binaries although each has, for example, a `--workdir`.
"""

import shlex

from absl import flags

from evaluation.encoders import CONFIG_FILE
from evaluation.frozen import result_workdir
from sassl_tf.representation.features import CROP_PROPORTION

flags.disclaim_key_flags()  # so that they are the binary's own, which is what --help shows


def define_encoder_flags():
    """Defines --encoder, --dataset, and the options of `frozen_features`."""
    flags.DEFINE_string("encoder", None, "A .keras file or a pretraining workdir.", required=True)
    flags.DEFINE_string(
        "dataset", None, "tfds:NAME, folder:PATH or shapes; labelled.", required=True
    )
    flags.DEFINE_string("data_dir", None, "The folder of prepared TFDS datasets.")
    flags.DEFINE_string(
        "workdir",
        None,
        "Where the results (JSON) and the features go; by default the encoder's workdir.",
    )
    flags.DEFINE_integer(
        "image_size",
        None,
        "Side of the images; by default what the encoder was made for, else 224.",
        lower_bound=1,
    )
    flags.DEFINE_integer("batch_size", 128, "Images per call of the encoder.", lower_bound=1)
    flags.DEFINE_float(
        "crop_proportion",
        CROP_PROPORTION,
        "Of the shorter side, once resized: 0.875 is usual for ImageNet, 1 for transfer.",
    )


def tell_next():
    """Prints where results lie and, of a pretraining's encoder, how to compare it with another."""
    workdir = result_workdir(flags.FLAGS.encoder, flags.FLAGS.workdir)
    print(f"Results and features are in {workdir}.")
    if (workdir / CONFIG_FILE).exists():
        where = shlex.quote(str(workdir))
        print(f"Next: python -m evaluation.report --output=report {where} OTHER_WORKDIR")


def encoder_arguments():
    """Returns the values of these flags as a dict of arguments for `evaluate`."""
    values = flags.FLAGS
    return {
        "encoder_path": values.encoder,
        "dataset_spec": values.dataset,
        "data_dir": values.data_dir,
        "workdir": values.workdir,
        "image_size": values.image_size,
        "batch_size": values.batch_size,
        "crop_proportion": values.crop_proportion,
    }
