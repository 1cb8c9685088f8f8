"""The guard on runs of given losses, by the checks of the kit, and from a configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from rnncallbacks import Run, load_plugins
from rnncallbacks.alarms.registered_codes import find_page
from rnncallbacks.errors import ConfigurationError

from rnncallbacks_acme import Acme

README = Path(__file__).parents[1] / "README.md"


def test_equal_losses_raise_the_alarm_once(play: Callable[..., Run]) -> None:
    run = play([Acme(patience=3)], losses=[2.0, 1.0, 1.0, 1.0, 1.0])
    (alarm,) = run.alarms
    assert (alarm.code, alarm.step, alarm.count) == ("ACME001", 4, 1)
    assert dict(alarm.evidence) == {"loss": 1.0, "batches": 3}


def test_losses_that_change_pass(play: Callable[..., Run]) -> None:
    run = play([Acme(patience=3)], losses=[2.0, 1.0, 1.0, 2.0])
    assert not run.alarms
    assert run.diagnosis.passed == {"ACME001": "the losses of 4 batches"}


def test_the_alarm_can_stop_the_run(play: Callable[..., Run]) -> None:
    run = play([Acme(patience=2, action="stop")], losses=[1.0] * 9)
    assert run.step == 2


@pytest.mark.rnncallbacks_budget(50)
def test_it_keeps_the_rules(check_plugin: Callable[..., None]) -> None:
    check_plugin(Acme)


def test_the_code_has_a_page() -> None:
    assert find_page("ACME001").startswith("# ACME001: ")


def test_the_configuration_of_the_readme_enables_it() -> None:
    (table,) = [block.partition("```")[0] for block in README.read_text("utf-8").split("```toml\n")[1:]]
    (plugin,) = load_plugins(tomllib.loads(table)).values()
    assert isinstance(plugin, Acme)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[plugins.acme\] patience: "):
        load_plugins({"plugins": {"acme": {"patience": 1}}})
