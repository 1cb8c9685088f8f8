"""TensorBoard: what is written is read back with TensorBoard's own reader."""

import logging
import math
import sys
from collections import defaultdict

import numpy as np
import pytest

from rnncallbacks import Run, hookimpl
from rnncallbacks.errors import PluginError, RunStateError
from rnncallbacks.plugins import Checkpoint, LossAveraging, Tensorboard
from rnncallbacks.testing import check_plugin

tensorboard = pytest.importorskip("tensorboard")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore")]


def read(directory):
    """What TensorBoard sees: {tag: {step: value}}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    found = defaultdict(dict)
    for tag in events.Tags()["scalars"]:
        found[tag] = {event.step: event.value for event in events.Scalars(tag)}
    for tag in events.Tags()["tensors"]:
        for event in events.Tensors(tag):
            found[tag][event.step] = value_of(event.tensor_proto)
    return dict(found)


def value_of(proto):
    from tensorboard.util.tensor_util import make_ndarray

    array = make_ndarray(proto)
    return array.item() if array.size == 1 else array


def sessions(directory):
    """The records of the page of hyperparameters."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(directory))
    events.Reload()
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    if metadata.SESSION_END_INFO_TAG not in content:
        return dict(start.hparams), None
    return dict(start.hparams), metadata.parse_session_end_info_plugin_data(
        content[metadata.SESSION_END_INFO_TAG]
    ).status


class Alarms:
    @hookimpl
    def on_batch_end(self, run):
        if run.step == 2:
            run.raise_alarm("RNN601", "no progress " + "x " * 200)


def train(plugins, epochs=2, fail_in=None, **options):
    params = {"w": np.array([4.0, 2.0])}
    with Run(params, plugins=plugins, learning_rate=0.5, **options) as run:
        for epoch in run.epochs(epochs):
            for target in run.batches([1.0, 0.0, 3.0]):
                if run.step == fail_in:
                    raise ValueError("the script fails")
                grads = {"w": params["w"] - target}
                run.log_batch(target=target)
                run.backward(float((grads["w"] ** 2).mean()), grads)
                params["w"] -= run.learning_rate * grads["w"]
            run.log(accuracy=epoch / 4, note="text")
    return run


def test_curves_histograms_texts_and_settings_are_read_back(tmp_path):
    plugins = [LossAveraging(), Alarms(), Tensorboard(histogram_every=2)]
    run = train(plugins, directory=tmp_path, facts={"data": "toy"})
    found = read(tmp_path)
    assert sorted(found["batch/loss"]) == [1, 2, 3, 4, 5, 6]
    assert found["batch/loss"][1] == 5.0
    assert found["batch/gradient_norm"][1] == pytest.approx(math.sqrt(10))
    assert found["batch/learning_rate"][6] == 0.5
    assert list(found["batch/target"].values()) == [1.0, 0.0, 3.0] * 2
    assert found["epoch/accuracy"] == {3: 0.25, 6: 0.5}
    assert found["epoch/train_loss"] == pytest.approx(
        {3: run.history[0]["train_loss"], 6: run.history[1]["train_loss"]}
    )
    assert "epoch/note" not in found
    assert {tag: sorted(found[tag]) for tag in ("gradients/w", "parameters/w")} == {
        "gradients/w": [1, 3, 5],
        "parameters/w": [1, 3, 5],
    }
    left, right, counts = found["gradients/w"][1].T
    assert (left[0], right[-1], counts.sum()) == (1.0, 3.0, 2)
    text = found["alarms/RNN601"][2].decode()
    assert "RNN601 plateau" in text
    assert max(map(len, text.splitlines())) < 120
    assert b"RNN601" in found["diagnosis"][6]
    assert found["outcome"][6] == b"    finished"
    settings, status = sessions(tmp_path)
    assert settings["data"].string_value == "toy"
    assert settings["tensorboard.histogram_every"].number_value == 2
    assert status == 1  # STATUS_SUCCESS


def test_batches_can_be_thinned_and_histograms_left_out(tmp_path):
    train([Tensorboard(directory=tmp_path, every_steps=4, histogram_every=None)])
    found = read(tmp_path)
    assert sorted(found["batch/loss"]) == [1, 5]
    assert not any(tag.startswith("gradients") for tag in found)


def test_a_resumed_run_replaces_what_was_written_behind_the_checkpoint(tmp_path):
    def plugins():
        return [LossAveraging(), Checkpoint(every_steps=2), Tensorboard(histogram_every=1)]

    with pytest.raises(ValueError, match="the script fails"):
        train([*plugins()[:1], Checkpoint(every_steps=2, on_exception=False), plugins()[2]], 3, 6, directory=tmp_path)
    assert (max(read(tmp_path)["batch/loss"]), sessions(tmp_path)[1]) == (5, None)
    run = train(plugins(), 3, directory=tmp_path)
    assert run.resumed
    found = read(tmp_path)
    assert list(found["batch/loss"]) == list(range(1, 10))
    assert list(found["epoch/accuracy"]) == [3, 6, 9]
    assert sessions(tmp_path)[1] == 1


def test_of_two_runs_in_one_directory_the_later_is_shown(tmp_path):
    train([Tensorboard()], epochs=3, directory=tmp_path)
    train([Tensorboard()], epochs=1, directory=tmp_path, facts={"second": True})
    assert sorted(read(tmp_path)["batch/loss"]) == [1, 2, 3]


@pytest.mark.parametrize("number", [0, 1, 2, 9, 40])
def test_a_full_disk_ends_the_logging_and_not_the_run(tmp_path, monkeypatch, caplog, number):
    from tensorboard.summary.writer.record_writer import RecordWriter

    write, written = RecordWriter.write, []

    def failing(self, data):
        written.append(data)
        if len(written) > number:
            raise OSError(28, "No space left on device")
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", failing)
    with caplog.at_level(logging.WARNING, "rnncallbacks"):
        run = train([Alarms(), Tensorboard(directory=tmp_path, histogram_every=2)], epochs=6)
    assert (run.epoch, run.outcome.ending) == (6, "finished")
    said = [record.getMessage() for record in caplog.records if "nothing more is logged" in record.getMessage()]
    assert said == [
        "tensorboard: nothing more is logged, the run continues: OSError: [Errno 28] No space left on device"
    ]


def test_values_that_are_not_finite_are_no_error(tmp_path, caplog):
    params = {"w": np.array([1.0, np.nan]), "v": np.array([np.inf])}
    with Run(params, plugins=[Tensorboard(directory=tmp_path, histogram_every=1)]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1]):
                run.backward(np.nan, {"w": np.array([np.nan, 1.0]), "v": np.array([np.nan])})
    found = read(tmp_path)
    assert math.isnan(found["batch/loss"][1])
    assert "gradients/v" not in found
    assert not caplog.records


def test_a_directory_and_the_package_are_needed(monkeypatch):
    with pytest.raises(RunStateError, match="tensorboard writes into the run's directory, but this run has none"):
        train([Tensorboard()])
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        PluginError, match=r"needs the package tensorboard(.|\n)*pip install 'rnncallbacks\[tensorboard\]'"
    ):
        train([Tensorboard()])


def test_it_passes_the_checks_of_plugins(tmp_path):
    check_plugin(lambda: Tensorboard(directory=tmp_path), budget_us=None, batches=200)
