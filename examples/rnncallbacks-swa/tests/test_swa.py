"""The average on runs of given gradients, by the checks of the kit, and from a configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rnncallbacks import Run, load_plugins
from rnncallbacks.errors import ConfigurationError, RunStateError

from rnncallbacks_swa import Swa

README = Path(__file__).parents[1] / "README.md"


def test_the_run_ends_with_the_mean_of_its_last_epochs(play: Callable[..., Run]) -> None:
    ends: list[float] = []
    run = play([Swa(start=2)], losses=[1.0], epochs=4, act=lambda run: ends.append(float(run.params["w"][0])))
    assert ends == [-0.125, -0.25, -0.375, -0.5]
    assert run.params["w"] == pytest.approx(np.full(2, np.mean(ends[1:])))
    assert run.history["swa_epochs"] == [None, 1, 2, 3]


def test_after_an_error_the_parameters_are_left_as_they_are(play: Callable[..., Run]) -> None:
    seen = {}

    def act(run: Run) -> None:
        seen["run"] = run
        if run.epoch == 3:
            raise ValueError

    with pytest.raises(ValueError):
        play([Swa()], losses=[1.0], epochs=4, act=act)
    assert seen["run"].params["w"].tolist() == [-0.375] * 2


def test_it_needs_the_parameters() -> None:
    with pytest.raises(RunStateError, match="expected a run with parameters"), Run(plugins=[Swa()]) as run:
        next(run.epochs(1))


@pytest.mark.rnncallbacks_budget(50)
def test_it_keeps_the_rules(check_plugin: Callable[..., None]) -> None:
    check_plugin(Swa)


def test_the_configuration_of_the_readme_enables_it() -> None:
    (table,) = [block.partition("```")[0] for block in README.read_text("utf-8").split("```toml\n")[1:]]
    (plugin,) = load_plugins(tomllib.loads(table)).values()
    assert isinstance(plugin, Swa)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[plugins.swa\] start: "):
        load_plugins({"plugins": {"swa": {"start": 0}}})
