"""The callback on runs, through the library's public interface alone."""

from __future__ import annotations

import doctest
import math
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rnncallbacks_acme import AcmeUpdateRatio, acme_update_ratio
from rnncallbacks_acme.acme_update_ratio import update_ratio

from rnncallbacks import Run, Trainer, hookimpl, load_plugins
from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.errors import ConfigurationError, RunStateError
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import SGD


def train(plugin: AcmeUpdateRatio, *, moves: list[float], epochs: int = 1, others: tuple[object, ...] = ()) -> Run:
    """Batch by batch, add the moves to the one parameter, which begins at 2."""
    params = {"w": np.array([2.0])}
    with Run(params, plugins=[*others, plugin]) as run:
        for _ in run.epochs(epochs):
            for move in run.batches(moves):
                run.backward(1.0, {"w": np.zeros(1)})
                params["w"] += move
    return run


def test_the_ratio_is_that_of_norms_over_all_arrays() -> None:
    generator = np.random.default_rng(0)
    before = [generator.standard_normal((3, 4)), generator.standard_normal(5)]
    after = [array + 0.1 * generator.standard_normal(array.shape) for array in before]
    flat, moved = (np.concatenate([array.ravel() for array in arrays]) for arrays in (before, after))
    assert update_ratio(before, after) == pytest.approx(np.linalg.norm(moved - flat) / np.linalg.norm(flat))


def test_the_ratio_is_defined_for_zeros() -> None:
    zeros, ones = [np.zeros(2)], [np.ones(2)]
    assert update_ratio(zeros, zeros) == 0.0
    assert update_ratio(zeros, ones) == math.inf


def test_the_column_is_the_mean_over_all_batches() -> None:
    run = train(AcmeUpdateRatio(every=1), moves=[1.0, -1.0])
    assert run.history["update_ratio"] == [pytest.approx((1 / 2 + 1 / 3) / 2)]
    assert run.alarms == []


def test_only_every_third_batch_is_sampled() -> None:
    run = train(AcmeUpdateRatio(every=3), moves=[1.0, 9.0, 9.0, 21.0, 9.0])
    assert run.history["update_ratio"] == [pytest.approx((1 / 2 + 21 / 21) / 2)]


def test_each_epoch_has_a_value_of_its_own() -> None:
    run = train(AcmeUpdateRatio(), moves=[2.0], epochs=2)
    assert run.history["update_ratio"] == [pytest.approx(2 / 2), pytest.approx(2 / 4)]


def test_skipped_batches_are_no_samples() -> None:
    class Skip:
        @hookimpl
        def on_batch_start(self, run: Run) -> None:
            run.skip_batch()

    run = train(AcmeUpdateRatio(), moves=[0.0], others=(Skip(),))
    assert "update_ratio" not in run.history
    assert run.alarms == []


def test_validation_changes_nothing() -> None:
    params = {"w": np.array([2.0])}
    with Run(params, plugins=[AcmeUpdateRatio()]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([1]):
                run.backward(1.0, {"w": np.zeros(1)})
                params["w"] += 1.0
                for _ in run.batches([1, 2], phase="val"):
                    run.record(1.0)
                params["w"] += 1.0
    assert run.history["update_ratio"] == [pytest.approx(2 / 2)]


def test_the_alarm_comes_once_when_nothing_moves() -> None:
    run = train(AcmeUpdateRatio(), moves=[0.0], epochs=3)
    (alarm,) = run.alarms
    assert (alarm.code, alarm.epoch) == ("ACME001", 1)
    assert dict(alarm.evidence) == {"update_ratio": 0.0, "samples": 1}
    assert run.history["update_ratio"] == [0.0, 0.0, 0.0]


def test_an_update_into_new_arrays_must_be_told() -> None:
    params = {"w": np.array([2.0])}
    with Run(params, plugins=[AcmeUpdateRatio()]) as run:
        for epoch in run.epochs(2):
            for _ in run.batches([1]):
                run.backward(1.0, {"w": np.zeros(1)})
                params = {"w": params["w"] + 1.0}
                if epoch == 2:
                    run.params = params
    assert run.history["update_ratio"] == [0.0, pytest.approx(2 / 2)]
    assert "run.params = params" in run.alarms[0].remedy


def test_the_alarm_can_end_the_run() -> None:
    run = train(AcmeUpdateRatio(action="stop"), moves=[0.0], epochs=3)
    assert len(run.history) == 1
    assert run.stop_reason is not None
    assert run.stop_reason.startswith("ACME001")
    with pytest.raises(AlarmRaised, match="ACME001"):
        train(AcmeUpdateRatio(action="raise"), moves=[0.0])


def test_a_resumed_run_does_not_raise_it_again(tmp_path: Path) -> None:
    options = {"path": str(tmp_path / "checkpoint.safetensors")}
    for epochs in (1, 2):
        checkpoint = load_plugins({"plugins": {"checkpoint": options}})["checkpoint"]
        run = train(AcmeUpdateRatio(), moves=[0.0], epochs=epochs, others=(checkpoint,))
    assert run.history["update_ratio"] == [0.0, 0.0]
    assert [alarm.epoch for alarm in run.alarms] == [1]


def test_it_needs_the_parameters() -> None:
    with (
        pytest.raises(RunStateError, match=r"pass the parameters: Run\(params\)"),
        Run(plugins=[AcmeUpdateRatio()]) as run,
    ):
        next(run.epochs(1))


def test_it_works_in_the_trainer() -> None:
    model = RecurrentModel(hidden_size=8, vocab_size=3)
    trainer = Trainer(model, SGD(), plugins=[AcmeUpdateRatio(every=1)], learning_rate=0.1)
    history = trainer.fit(StreamLoader(np.arange(60) % 3, batch_size=2, seq_len=10), max_epochs=2)
    assert all(isinstance(ratio, float) and 0.0 < ratio < 0.1 for ratio in history["update_ratio"])


@pytest.mark.parametrize("options", [{"every": 0}, {"every": "10"}, {"every": 2.5}, {"action": "panic"}, {"evry": 5}])
def test_wrong_options_are_refused_in_the_configuration(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"[plugins.acme_update_ratio] {next(iter(options))}")):
        load_plugins({"plugins": {"acme_update_ratio": options}})


def test_the_readme_shows_a_configuration_that_works() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    (plugin,) = load_plugins(tomllib.loads(block)).values()
    assert isinstance(plugin, AcmeUpdateRatio)


def test_the_entry_point_leads_to_the_class() -> None:
    (entry_point,) = entry_points(group="rnncallbacks.plugins", name="acme_update_ratio")
    assert entry_point.load() is AcmeUpdateRatio


def test_the_examples_of_the_docstrings_run() -> None:
    failed, attempted = doctest.testmod(acme_update_ratio)
    assert (failed, attempted) == (0, 2)
