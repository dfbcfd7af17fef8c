"""Two replicas, or two workers, with half the batch each against one device, for every method."""

import json
import re
import signal
import socket
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests import commands
from training.configs import simclr
from training.engine import loop
from training.engine.preemption import StopRequest, stop_wanted
from training.engine.strategy import (
    across_workers,
    check_batch_norm_groups,
    check_batch_size,
    make_strategy,
)

# The others share their parts with these, and are in `make test-all`. Of all parts, workers differ
# from replicas in the gathered batch and in accumulated gradients; SimCLR has both.
QUICK, SLOW = "simclr,simsiam,moco", "byol,barlow_twins,vicreg,moco_v3,dino"
OF_WORKERS = "simclr"


def two_workers(*arguments, each=lambda index: ()):
    """Starts a module in two processes on this machine that know of each other."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("localhost", 0))
    workers = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    configs = [json.dumps({"cluster": {"worker": workers}, "task": task}) for task in tasks]
    return [
        commands.start(*arguments, *each(index), TF_CONFIG=config)
        for index, config in enumerate(configs)
    ]


def finish(process):
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    output = tmp_path_factory.mktemp("one") / "one.npz"
    done = commands.run("tests.training.three_steps", "one", output, QUICK)
    assert done.returncode == 0, done.stderr
    return np.load(output)


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name in expected.keys() - {"replicas", "workers"}:
        for copy in [found[name]] if "loss" in name else found[name]:
            alone = expected[name] if "loss" in name else expected[name][0]
            np.testing.assert_allclose(copy, alone, atol=2e-5, rtol=1e-5, err_msg=name)


def test_two_replicas_give_the_losses_and_weights_of_one(one, tmp_path):
    output = tmp_path / "two.npz"
    done = commands.run("tests.training.three_steps", "mirrored", output, QUICK)
    assert done.returncode == 0, done.stderr
    two = np.load(output)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert_same(two, one)


@pytest.mark.slow
@pytest.mark.parametrize("method", SLOW.split(","))
def test_two_replicas_give_those_of_one_for_the_other_methods(method, tmp_path):
    found = {}
    for strategy in ("one", "mirrored"):
        output = tmp_path / "found.npz"
        finish(commands.start("tests.training.three_steps", strategy, output, method))
        found[strategy] = dict(np.load(output))
    assert found["mirrored"]["replicas"] == 2
    assert_same(found["mirrored"], found["one"])


@pytest.mark.parametrize("methods", [OF_WORKERS, pytest.param(QUICK, marks=pytest.mark.slow)])
def test_two_workers_give_the_losses_and_weights_of_one(one, methods, tmp_path):
    def each(index):
        return [tmp_path / f"{index}.npz", methods]

    processes = two_workers("tests.training.three_steps", "multi_worker", each=each)
    wanted = {"replicas", "workers", *methods.split(",")}
    expected = {name: one[name] for name in one if name.partition("/")[0] in wanted}
    for index, process in enumerate(processes):
        finish(process)
        found = np.load(tmp_path / f"{index}.npz")
        assert found["replicas"] == 2 and found["workers"].tolist() == [7, 7]
        assert_same(found, expected)


def test_one_device_is_the_default_here():
    for name in ("auto", "one"):
        if len(tf.config.list_logical_devices("GPU")) < 2 or name == "one":
            strategy = make_strategy(name)
            assert strategy.num_replicas_in_sync == 1
            check_batch_size(strategy, 7)
            assert across_workers(strategy, 3).tolist() == [3]


def test_a_batch_that_does_not_part():
    class FourReplicas:
        num_replicas_in_sync = 4

    check_batch_size(FourReplicas, 8)
    with pytest.raises(ValueError, match="batch_size is 6; expected a multiple of the 4 replicas"):
        check_batch_size(FourReplicas, 6)
    with pytest.raises(ValueError, match="the 4 replicas, in 2 parts"):
        check_batch_size(FourReplicas, 12, accumulate=2)


def test_workers_with_different_configs_are_told(monkeypatch):
    seen = []

    def both(_, value):
        seen.append(value)
        return np.array([seen[0], value])

    monkeypatch.setattr(loop, "across_workers", both)
    config = simclr.get_config("smoke")
    for precision in ("float32", "bfloat16"):  # processors may differ
        prints = {"styles": "aa", "stylizer_precision": precision}
        loop.check_workers_run_the_same(None, config, prints)
    with pytest.raises(ValueError, match="workers 0 and 1 have different configs"):
        loop.check_workers_run_the_same(None, config, {"styles": "bb"})
    config.optimizer.learning_rate = 7.0
    with pytest.raises(ValueError, match="workers 0 and 1 have different configs"):
        loop.check_workers_run_the_same(None, config, {"styles": "aa"})


def test_groups_that_do_not_part():
    two = mock.Mock(num_replicas_in_sync=2)
    for groups in (1, 2, 8):
        check_batch_norm_groups(two, groups)
    with pytest.raises(ValueError, match="groups is 3; expected a multiple of the 2 replicas"):
        check_batch_norm_groups(two, 3)


def test_unknown_strategy():
    with pytest.raises(ValueError, match="expected one of auto, one, mirrored, multi_worker, tpu"):
        make_strategy("tpus")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'],
)
def test_a_tf_config_that_makes_no_sense(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=re.escape('hosts, {"cluster"')):
        make_strategy("multi_worker")


def test_no_tpu():
    flags = ["--config=training/configs/simclr.py:smoke", "--workdir=unused"]
    done = commands.run("training.pretrain", *flags, "--strategy=tpu", "--tpu=local")
    assert done.returncode == 1 and "No TPU could be reached under --tpu='local'" in done.stderr


def test_one_worker_stops_at_once():
    requested = StopRequest()
    assert stop_wanted(make_strategy("one"), requested, step=3) is None
    requested.handle(signal.SIGHUP, None)
    assert stop_wanted(make_strategy("one"), requested, step=3) == signal.SIGHUP
