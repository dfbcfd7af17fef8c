"""Self-supervised pretraining with SASSL: absl commands, run from a checkout."""

from training.command.startup import begin_command

begin_command(__name__)
