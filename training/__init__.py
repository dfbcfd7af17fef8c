"""Self-supervised pretraining with SASSL: absl binaries, run from a checkout."""
