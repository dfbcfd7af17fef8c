r"""Self-supervised pretraining: images in, an encoder out.

    python -m training.pretrain --config=training/configs/simclr.py:imagenette \
        --config.dataset=folder:PATH --workdir=runs/simclr

Any field of the config can be set with `--config.field=value`. The same command continues a run
that was interrupted. docs/training.md tells how to run on several GPUs, hosts or a TPU.
"""

import time

from absl import flags
from ml_collections import config_flags

from training.command import binary
from training.engine.strategy import STRATEGIES

_CONFIG = config_flags.DEFINE_config_file("config", None, "training/configs/METHOD.py:PRESET")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    STRATEGIES,
    "Where it runs: one device; mirrored over the GPUs of this host; multi_worker, over those of "
    "the hosts in TF_CONFIG; tpu; auto is mirrored where there are several GPUs, else one.",
)
_TPU = flags.DEFINE_string("tpu", "", "Name or address of the TPU; 'local' on its host.")
_PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps", 0, "Traces so many steps for TensorBoard's profiler.", lower_bound=0
)
_DATA_SERVICE = flags.DEFINE_string(
    "data_service", "", "HOST:PORT of the dispatcher that has the views made by helper hosts."
)


def main(_):
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
    )
    if run.chief:
        print(summary.after(run, time.monotonic() - start))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    binary.run(main, continues=True)
