"""What a run tells of itself."""

import sassl_tf
from training import summary


def test_what_decides_a_run_is_told():
    augment = sassl_tf.SASSLAugmentation(styles="in_batch", stylize_size=64, probability=0.5)
    told = summary.style(augment)
    assert told == "compact stylizer, at 64 px, styles in batch, p 0.5, α 0.1–0.3, β 0.1–0.3"
    bank = len(sassl_tf.StyleBank.default("compact"))
    assert f"styles {bank:,} in a bank" in summary.style(sassl_tf.SASSLAugmentation())
    assert summary.style(None) == "off"
    assert [summary.batch(64, 1), summary.batch(64, 4)] == ["64", "64, 16 on each of 4"]
    assert "helpers of here:1" in summary.source("host", "here:1")
    assert "within the train step" in summary.source("device", "")


def test_the_end_is_a_command_to_type():
    last = summary.after("runs/x", "folder:y", 61).splitlines()[-1]
    assert last == "Next: python -m evaluation.linear_probe --encoder=runs/x --dataset=folder:y"
