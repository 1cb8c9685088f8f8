"""MLflow: what is sent to a store in a file is read back with MLflow's own client."""

import logging
import math
import os
import socket
import sys

import numpy as np
import pytest

from rnncallbacks import Run, hookimpl
from rnncallbacks.errors import PluginError
from rnncallbacks.plugins import Checkpoint, HistoryLog, LossAveraging, Mlflow
from rnncallbacks.testing import check_plugin

tracking = pytest.importorskip("mlflow.tracking")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A store, which takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MLflow writes artifacts into the working directory


class Alarms:
    @hookimpl
    def on_batch_end(self, run):
        if run.step == 2:
            run.raise_alarm("RNN601", "no progress")


def train(plugins, epochs=2, fail_in=None, error=ValueError, **options):
    params = {"w": np.array([4.0, 2.0])}
    with Run(params, plugins=plugins, learning_rate=0.5, state={}, **options) as run:
        for epoch in run.epochs(epochs):
            for target in run.batches([1.0, 0.0, 3.0]):
                if run.step == fail_in:
                    raise error("the script fails")
                grads = {"w": params["w"] - target}
                run.log_batch(target=target)
                run.backward(float((grads["w"] ** 2).mean()), grads)
                params["w"] -= run.learning_rate * grads["w"]
            run.log(accuracy=epoch / 4)
    return run


def read(uri, name):
    """The last run of an experiment, and the client."""
    client = tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    return runs[0], client, len(runs)


def history(client, run, name):
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def test_params_metrics_tags_and_artifacts_are_read_back(uri, tmp_path):
    plugins = [LossAveraging(), Mlflow(tracking_uri=uri, experiment="whole"), HistoryLog(), Alarms()]
    run = train(plugins, directory=tmp_path / "first", facts={"data": "toy", "größe = 3": 1})
    found, client, count = read(uri, "whole")
    assert (count, found.info.run_name, found.info.status) == (1, "first", "FINISHED")
    params = {"data": "toy", "größe _ 3": "1", "learning_rate": "0.5", "mlflow.every_steps": "1", "parameters": "2"}
    assert found.data.params.items() >= params.items()
    assert [step for step, _ in history(client, found, "batch/loss")] == [1, 2, 3, 4, 5, 6]
    assert history(client, found, "batch/target")[:3] == [(1, 1.0), (2, 0.0), (3, 3.0)]
    assert history(client, found, "batch/gradient_norm")[0] == (1, pytest.approx(math.sqrt(10)))
    assert history(client, found, "epoch/accuracy") == [(3, 0.25), (6, 0.5)]
    assert [value for _, value in history(client, found, "epoch/train_loss")] == run.history["train_loss"]
    assert found.data.tags["outcome"] == "finished"
    assert "no progress" in found.data.tags["alarm.RNN601"]
    paths = {item.path for item in client.list_artifacts(found.info.run_id)}
    assert paths >= {"diagnosis.txt", "history.csv", "history.jsonl", "diagnosis.json"}
    assert not any(path.startswith(".") for path in paths)
    assert not {name for name in os.environ if name.startswith("MLFLOW_HTTP")}


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_resumed_run_goes_on_in_the_same_run(uri, tmp_path, error, status):
    def plugins(**changed):
        logger = Mlflow(tracking_uri=uri, experiment=status, run_name="mine", artifacts=False, **changed)
        return [Checkpoint(every_steps=2, fsync=False), logger]

    with pytest.raises(error):
        train(plugins(), 3, 6, error, directory=tmp_path)
    found, _, _ = read(uri, status)
    assert (found.info.status, found.data.metrics["batch/target"]) == (status, 0.0)
    assert train(plugins(flush_seconds=2.0), 3, directory=tmp_path).resumed
    again, client, count = read(uri, status)
    assert (count, again.info.run_id, again.info.status) == (1, found.info.run_id, "FINISHED")
    assert {step for step, _ in history(client, again, "batch/loss")} == set(range(1, 10))
    assert again.data.params["mlflow.flush_seconds"] == "5.0"  # parameters of a run of MLflow do not change
    assert client.list_artifacts(again.info.run_id)[0].path == "diagnosis.txt"


def test_a_run_that_the_store_has_lost_begins_another(uri, tmp_path, caplog):
    def plugins(experiment):
        return [Checkpoint(fsync=False), Mlflow(tracking_uri=uri, experiment=experiment, artifacts=False)]

    train(plugins("lost"), 1, directory=tmp_path)
    first, client, _ = read(uri, "lost")
    client._tracking_client.store._hard_delete_run(first.info.run_id)
    train(plugins("found"), 2, directory=tmp_path)
    assert f"the run {first.info.run_id} cannot be continued, a new one begins" in caplog.text
    assert read(uri, "found")[0].data.metrics["epoch/accuracy"] == 0.5


def messages(caplog):
    return [one.getMessage() for one in caplog.records if "nothing more is logged" in one.getMessage()]


@pytest.mark.parametrize("failing", ["create_run", "log_batch", "set_tag", "log_text", "set_terminated"])
def test_an_error_of_the_store_ends_the_logging_and_not_the_run(uri, monkeypatch, caplog, failing):
    def fail(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracking.MlflowClient, failing, fail)
    with caplog.at_level(logging.WARNING, "rnncallbacks"):
        run = train([Alarms(), Mlflow(tracking_uri=uri, experiment=failing, flush_seconds=0)])
    assert (run.epoch, run.outcome.ending) == (2, "finished")
    assert len(messages(caplog)) == 1


def test_a_dead_server_ends_the_logging_and_not_the_run(monkeypatch, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = train([Mlflow(tracking_uri=address)])
    assert run.outcome.ending == "finished"
    assert len(messages(caplog)) == 1


def test_metrics_that_are_not_finite_are_no_error(uri, caplog):
    with Run(plugins=[Mlflow(tracking_uri=uri, experiment="odd")]) as run:
        for _ in run.epochs(1):
            for loss in run.batches([math.nan, math.inf]):
                run.record(loss)
    found, client, _ = read(uri, "odd")
    values = [value for _, value in history(client, found, "batch/loss")]
    assert math.isnan(values[0])
    assert values[1] > 1e300
    assert not messages(caplog)


def test_a_thousand_facts_and_long_ones_are_sent(uri, caplog):
    facts = {f"fact {number} {'y' * 300}": "x" * 10_000 for number in range(250)}
    with Run(plugins=[Mlflow(tracking_uri=uri, experiment="many")], facts=facts) as run:
        for _ in run.epochs(1):
            run.raise_alarm("RNN601", "z" * 20_000)
            run.stop("z" * 20_000)
    found, _, _ = read(uri, "many")
    assert len(found.data.params) >= 250
    assert {len(found.data.tags[name]) for name in ("alarm.RNN601", "outcome")} == {5000}
    assert not messages(caplog)


def test_the_package_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(PluginError, match=r"the plugin mlflow needs the package mlflow(.|\n)*rnncallbacks\[mlflow\]"):
        train([Mlflow()])


class SameClient:
    """A store that gives each run one number: a plugin's state is compared between runs."""

    def __init__(self, uri):
        self.info = self.data = self
        self.run_id = self.experiment_id = "1"
        self.params = {}

    def get_experiment_by_name(self, name):
        return self

    def create_run(self, experiment, run_name):
        return self

    get_run = create_experiment = get_experiment_by_name

    def log_batch(self, *arguments, **named):
        pass

    update_run = set_tag = log_text = log_artifact = set_terminated = log_batch


def test_it_passes_the_checks_of_plugins(monkeypatch):
    monkeypatch.setattr(tracking, "MlflowClient", SameClient)
    check_plugin(lambda: Mlflow(flush_seconds=0.0), budget_us=None, batches=100)
