"""Loggers: the rows that they are given, through stand-ins and, where installed, the packages.

The packages run in their offline modes: W&B's files, MLflow's and Trackio's local stores.
"""

import contextlib
import json
import signal
import sqlite3
import struct
import time
import types

import keras
import numpy as np
import pytest

from sassl_tf.datasets.shapes import shapes
from sassl_tf.errors import UserError
from training.configs.simclr import get_config
from training.engine.preemption import Preempted
from training.report import loggers
from training.report.loggers import LOGGERS, check_loggers, flat, open_loggers
from training.report.metrics import MetricsWriter, read_metrics
from training.report.watch import Watch

CONFIG = {"method": "simclr", "optimizer": {"name": "lars", "learning_rate": 0.3}}
PICTURE = np.zeros((8, 8, 3), np.uint8)
SERVICES = [name for name in LOGGERS if name != "tensorboard"]


def interrupted_run(workdir, name, kill=lambda: None):
    """Four rows: a run is killed after the second, and goes on from a checkpoint of the first.

    `kill` ends what the process of the first part would have left.
    """
    writer = MetricsWriter(workdir, 0, [name], CONFIG)
    writer.write_picture(0, "views", PICTURE)
    writer.write(5, {"loss": 3.0})
    writer.write(10, {"loss": 2.0})  # without a close, as a kill leaves it
    kill()
    writer = MetricsWriter(workdir, 5, [name], CONFIG)
    writer.write(10, {"loss": 1.5})
    writer.write(15, {"loss": 1.0})
    writer.close()
    assert [row["step"] for row in read_metrics(workdir)] == [5, 10, 15]
    return json.loads((workdir / "loggers.json").read_text())[name]


FUNCTIONS = {
    "wandb": {"init", "define_metric", "log", "Image", "finish"},
    "trackio": {"init", "log", "Image", "finish"},
    "mlflow": {
        "MlflowClient",
        "get_experiment_by_name",
        "create_experiment",
        "create_run",
        "update_run",
        "log_batch",
        "log_image",
        "set_terminated",
    },
}


class StandIn(types.SimpleNamespace):
    """In the place of a service's package and of what its functions return.

    It has the names in `FUNCTIONS` alone, which the package has.
    """

    def __init__(self, service):
        super().__init__()
        self.service, self.calls, self.broken = service, [], False

    def __getattr__(self, name):
        if name not in FUNCTIONS[self.service]:
            raise AttributeError(name)

        def call(*args, **kwargs):
            if self.broken:
                raise ConnectionError("no route to host")
            self.calls.append((name, args, kwargs))
            return self

        return call


class MLflowStandIn(StandIn):
    entities = types.SimpleNamespace(Metric=lambda *row: row, Param=lambda *field: field)
    info = types.SimpleNamespace(run_id="run1")
    experiment_id = "experiment1"


@pytest.fixture
def package(request, monkeypatch):
    stand_in = (MLflowStandIn if request.param == "mlflow" else StandIn)(request.param)
    monkeypatch.setattr(loggers, "import_extra", lambda *_: stand_in)
    return stand_in


@pytest.mark.parametrize("package", SERVICES, indirect=True)
def test_a_run_that_goes_on_is_the_same_run_of_the_service(package, tmp_path, capsys):
    name = interrupted_run(tmp_path, package.service)
    assert "failed" not in capsys.readouterr().err
    calls = package.calls
    if package.service == "wandb":
        begun = [kwargs for call, _, kwargs in calls if call == "init"]
        assert [run["id"] for run in begun] == [name, name]
        assert begun[0]["config"] == CONFIG and begun[0]["resume"] == "allow"
        rows = [args[0] for call, args, _ in calls if call == "log"]
        assert rows[1:] == [
            {"step": step, "loss": loss}
            for step, loss in ((5, 3.0), (10, 2.0), (10, 1.5), (15, 1.0))
        ]
        assert ("define_metric", ("*",), {"step_metric": "step"}) in calls
    if package.service == "trackio":
        assert [args for call, args, _ in calls if call == "init"] == [("sassl_tf",)] * 2
        assert {kwargs["name"] for call, _, kwargs in calls if call == "init"} == {name}
        rows = [(kwargs["step"], args[0]) for call, args, kwargs in calls if call == "log"]
        assert rows[-1] == (15, {"loss": 1.0})
    if package.service == "mlflow":
        names = [call for call, _, _ in calls]
        assert names.count("create_run") == 1 and name == "run1"
        assert ("update_run", ("run1",), {"status": "RUNNING"}) in calls
        batches = [kwargs for call, _, kwargs in calls if call == "log_batch"]
        assert ("optimizer.learning_rate", "0.3") in batches[0]["params"]
        assert [row[::3] for row in batches[-1]["metrics"]] == [("loss", 15)]
        assert calls[-1] == ("set_terminated", ("run1", "FINISHED"), {})


@pytest.mark.parametrize("package", SERVICES, indirect=True)
@pytest.mark.parametrize("error", [Preempted(3, 9, signal.SIGTERM), UserError("no"), None])
def test_the_service_is_told_how_a_run_ends(package, error, tmp_path):
    """A run that is stopped will go on; one with an error has failed."""
    plan = types.SimpleNamespace(
        config=get_config("smoke"),
        dataset=shapes(count=24),
        total_steps=9,
        steps_per_epoch=3,
    )
    encoder = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    method = types.SimpleNamespace(encoder=encoder)
    run = types.SimpleNamespace(plan=plan, method=method, workdir=tmp_path, start=0, chief=True)
    with contextlib.suppress(Preempted, UserError), Watch(run, [package.service]):
        if error:
            raise error
    failed = isinstance(error, UserError)
    last, arguments, options = package.calls[-1]
    if package.service == "mlflow":
        assert arguments == ("run1", "FAILED" if failed else "FINISHED")
    else:
        assert last == "finish"
        assert options == ({"exit_code": int(failed)} if package.service == "wandb" else {})


@pytest.mark.parametrize("package", ["wandb"], indirect=True)
def test_a_service_that_fails_stops_nothing(package, tmp_path, capsys):
    writer = MetricsWriter(tmp_path, 0, ["tensorboard", "wandb"], CONFIG)
    package.broken = True
    writer.write(1, {"loss": 3.0})
    writer.write(2, {"loss": 2.0})
    writer.close()
    assert len(read_metrics(tmp_path)) == 2
    told = capsys.readouterr().err
    assert told.count("logger wandb failed (ConnectionError: no route to host)") == 1


@pytest.mark.parametrize("package", ["trackio"], indirect=True)
def test_a_service_that_does_not_start_is_told(package, tmp_path):
    package.broken = True
    with pytest.raises(ValueError, match=r"--loggers=trackio could not be started.*remove"):
        open_loggers(["trackio"], tmp_path, 5, CONFIG)


def test_unknown_and_missing_loggers_are_told_at_once(monkeypatch):
    with pytest.raises(ValueError, match=r"There is no logger .tensorbord.\. Did you mean"):
        check_loggers(["tensorbord"])
    monkeypatch.setitem(loggers.LOGGERS, "nothing_of_the_name", LOGGERS["wandb"])
    with pytest.raises(ImportError, match=r"pip install '\.\[nothing_of_the_name\]'"):
        check_loggers(["tensorboard", "nothing_of_the_name"])


def test_fields_are_flat():
    expected = {"method": "simclr", "optimizer.name": "lars", "optimizer.learning_rate": 0.3}
    assert dict(flat(CONFIG)) == expected


def wandb_rows(file):
    """The rows in the log of an offline run, whose records have headers of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at = file.read_bytes(), 7
    while at < len(data):
        _, length, _ = struct.unpack("<IHB", data[at : at + 7])
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[at + 7 : at + 7 + length])
        at += 7 + length
        if record.HasField("history"):
            items = record.history.item
            yield {(i.key or i.nested_key[0]): json.loads(i.value_json) for i in items}


def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    name = interrupted_run(tmp_path, "wandb", wandb.finish)
    until, losses = time.monotonic() + 30, []
    while len(losses) < 4 and time.monotonic() < until:  # W&B's own process writes the file
        time.sleep(0.2)
        files = sorted((tmp_path / "wandb").glob(f"offline-run-*/run-{name}.wandb"))
        rows = [row for file in files for row in wandb_rows(file)]
        losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    assert losses == [(5, 3.0), (10, 2.0), (10, 1.5), (15, 1.0)]


def test_mlflow_in_a_folder(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    name = interrupted_run(tmp_path, "mlflow")
    client = mlflow.MlflowClient()
    run = client.get_run(name)
    assert run.info.status == "FINISHED" and run.info.run_name == tmp_path.name
    assert run.data.params["optimizer.learning_rate"] == "0.3"
    history = [(row.step, row.value) for row in client.get_metric_history(name, "loss")]
    assert sorted(history) == [(5, 3.0), (10, 1.5), (10, 2.0), (15, 1.0)]
    assert [file.path for file in client.list_artifacts(name)] == ["views-0.png"]


def test_trackio_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    trackio = pytest.importorskip("trackio")
    name = interrupted_run(tmp_path, "trackio", trackio.finish)
    with sqlite3.connect(tmp_path / "trackio" / "sassl_tf.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by id")
        logged = [(run, step, json.loads(text)) for run, step, text in rows]
    assert {run for run, _, _ in logged} == {name}
    losses = [(step, row["loss"]) for _, step, row in logged if "loss" in row]
    assert losses[-2:] == [(10, 1.5), (15, 1.0)]
