"""The trace that TensorBoard's profiler reads."""

import tensorflow as tf

from training.engine.profiler import Profiler


def run(profiler, steps):
    for number in range(1, steps + 1):
        with profiler.step(number):
            tf.matmul(tf.ones((8, 8)), tf.ones((8, 8)))
    profiler.close()


def traces(folder):
    return list(folder.glob("plugins/profile/*/*.xplane.pb"))


def test_steps_are_traced_even_if_the_run_ends_before_the_last(tmp_path, capsys):
    run(Profiler(tmp_path / "whole", 0, 2), steps=14)
    run(Profiler(tmp_path / "cut", 0, 100), steps=11)
    assert len(traces(tmp_path / "whole")) == len(traces(tmp_path / "cut")) == 1
    assert "".join(capsys.readouterr()) == ""


def test_a_run_too_short_to_trace_says_so(tmp_path, capsys):
    run(Profiler(tmp_path, 0, 2), steps=10)
    assert "ended before step 11" in "".join(capsys.readouterr()) and not traces(tmp_path)
    run(Profiler(tmp_path, 0, 0), steps=12)  # not asked for
    assert "".join(capsys.readouterr()) == "" and not traces(tmp_path)
