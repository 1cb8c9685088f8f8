"""The guard on runs of given gradients, by the checks of the kit, and from a configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rnncallbacks import Run, load_plugins
from rnncallbacks.alarms.registered_codes import find_page
from rnncallbacks.errors import ConfigurationError

from rnncallbacks_topk import Topk

README = Path(__file__).parents[1] / "README.md"


def run_of(gradient: np.ndarray[tuple[int], np.dtype[np.floating]], guard: Topk) -> Run:
    params = {"w": np.zeros(gradient.size)}
    with Run(params, plugins=[guard]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(4)):
                run.backward(1.0, {"w": gradient.copy()})
    return run


def test_two_large_entries_raise_the_alarm_once() -> None:
    gradient = np.full(200, 0.001)
    gradient[[3, 70]] = 5.0
    (alarm,) = run_of(gradient, Topk(k=2, batches=3)).alarms
    assert (alarm.code, alarm.step, alarm.count) == ("TOPK001", 3, 1)
    assert alarm.evidence["share"] == pytest.approx(50 / (50 + 198e-6))
    assert alarm.remedy.startswith("scale the inputs")


def test_equal_entries_pass() -> None:
    run = run_of(np.ones(200), Topk(k=2, batches=3))
    assert not run.alarms
    assert run.diagnosis.passed == {"TOPK001": "3 gradients of 200 entries"}


def test_a_small_gradient_is_not_judged() -> None:
    run = run_of(np.ones(199), Topk(k=2, batches=3))
    assert run.diagnosis.cannot_tell == {"TOPK001": "2 of 199 entries are not few"}


@pytest.mark.rnncallbacks_budget(50)
def test_it_keeps_the_rules(check_plugin: Callable[..., None]) -> None:
    check_plugin(Topk)


def test_the_code_has_a_page() -> None:
    assert find_page("TOPK001").startswith("# TOPK001: ")


def test_the_configuration_of_the_readme_enables_it() -> None:
    (table,) = [block.partition("```")[0] for block in README.read_text("utf-8").split("```toml\n")[1:]]
    (plugin,) = load_plugins(tomllib.loads(table)).values()
    assert isinstance(plugin, Topk)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[plugins.topk\] share: "):
        load_plugins({"plugins": {"topk": {"share": 1.5}}})
