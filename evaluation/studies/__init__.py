"""Studies: arms, seeds and evaluations, of which `evaluation.study` does what is missing."""
