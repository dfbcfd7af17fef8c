r"""Pretrains an encoder on images without labels.

    python -m training.pretrain --config=training/configs/simclr.py:imagenette \
        --config.dataset=folder:PATH --workdir=runs/simclr

`--config.field=value` sets a field of the config. The same command continues a run that was
interrupted. docs/training.md has methods and encoders, docs/scale.md several hosts and TPUs.
"""

import time

from absl import flags
from ml_collections import config_flags

from sassl_tf.datasets.dataset import READS_IN_FLIGHT
from training.command import binary
from training.engine.strategy import STRATEGIES

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config, as training/configs/METHOD.py:PRESET."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run.", required=True)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    STRATEGIES,
    "The devices to use: one device; mirrored, the GPUs of this host; multi_worker, those of the "
    "hosts in TF_CONFIG; tpu; auto, which is mirrored if there are several GPUs and one otherwise.",
)
_TPU = flags.DEFINE_string("tpu", "", "The name or the address of the TPU; 'local' on its host.")
_PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps", 0, "The number of steps to trace for TensorBoard's profiler.", lower_bound=0
)
_DATA_SERVICE = flags.DEFINE_string(
    "data_service",
    "",
    "The HOST:PORT of a data service's dispatcher, whose workers make the views.",
)
_LOGGERS = flags.DEFINE_list(
    "loggers",
    "tensorboard",
    "The places that the metrics go to besides metrics.jsonl, with commas: tensorboard, wandb, "
    "mlflow, trackio.",
)
_READS = flags.DEFINE_integer(
    "reads_in_flight",
    READS_IN_FLIGHT,
    "The number of images that are read at the same time on each host; more help where a read "
    "takes long, as from a bucket.",
    lower_bound=1,
)
_MEASURE_INPUT = flags.DEFINE_float(
    "measure_input",
    0.0,
    "The number of seconds for which the speed of the input is measured before the first step. A "
    "line then says whether the input or the step limits the run, and what to change.",
    lower_bound=0.0,
)


def main(_: list[str]) -> None:
    from training.engine.loop import pretrain
    from training.report import summary

    start = time.monotonic()
    run = pretrain(
        _CONFIG.value,
        _WORKDIR.value,
        _STRATEGY.value,
        _TPU.value,
        _PROFILE_STEPS.value,
        _DATA_SERVICE.value,
        _LOGGERS.value,
        _READS.value,
        _MEASURE_INPUT.value,
    )
    if run.chief:
        print(summary.after(run, time.monotonic() - start))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    binary.run(main, continues=True)
