"""What the library reads of a plugin besides its hooks."""

import attrs
import pytest

from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_attributes import ConcludesChecks, HasAction, RepairsAlarms, check_repairs
from rnncallbacks.errors import OptionError, PluginError


@attrs.define(eq=False)
class Asks:
    action: str = "repair"

    @hookimpl
    def on_batch_end(self): ...


@attrs.define(eq=False)
class AsksForOneCode(Asks):
    action: str = "stop"
    divergence_action: str = "repair"


class Repairs:
    repairs = True

    @hookimpl
    def on_alarm(self): ...


class Plain:
    @hookimpl
    def on_batch_end(self): ...


def test_the_protocols_are_told_by_their_attribute():
    assert isinstance(Asks(), HasAction)
    assert isinstance(Repairs(), RepairsAlarms)
    assert not isinstance(Plain(), HasAction | RepairsAlarms)


def test_which_shipped_plugins_have_which():
    made = {one.name: one.load() for one in find_plugins() if one.distribution == "rnncallbacks"}
    monitored = {"plateau_alarm": {"monitor": "val_loss"}, "early_stopping": {"monitor": "val_loss"}}
    needed = {"self_repair", "progress", "divergence_alarm", "gradient_guard", "plateau_alarm", "gradient_clipping"}
    plugins = {name: made[name](**monitored.get(name, {})) for name in needed}
    assert {name for name, one in plugins.items() if isinstance(one, RepairsAlarms)} == {"self_repair"}
    assert {name for name, one in plugins.items() if isinstance(one, HasAction)} == {
        "divergence_alarm",
        "gradient_guard",
        "plateau_alarm",
    }
    assert {name for name, one in plugins.items() if isinstance(one, ConcludesChecks)} == {"gradient_guard"}


@pytest.mark.parametrize(
    "plugins",
    [
        {},
        {"plain": Plain()},
        {"asks": Asks(action="warn")},
        {"asks": Asks(), "repairs": Repairs()},
        {"repairs": Repairs(), "asks": Asks()},
    ],
)
def test_repairs_that_nobody_asks_for_or_somebody_does_are_right(plugins):
    check_repairs(plugins)


def test_a_repair_that_nobody_does_is_refused_with_the_plugins_name():
    quiet = Repairs()
    quiet.repairs = False
    with pytest.raises(OptionError, match=r"asks: action='repair' needs a plugin that repairs.*\n.*SelfRepair"):
        check_repairs({"plain": Plain(), "quiet": quiet, "asks": Asks()})
    with pytest.raises(OptionError, match=r"asks: divergence_action='repair' needs a plugin that repairs"):
        check_repairs({"asks": AsksForOneCode()})


def test_an_action_that_cannot_be_read_names_the_plugin():
    class Broken(Plain):
        @property
        def action(self):
            raise ValueError("out of order")

    with pytest.raises(PluginError, match="'mine': its attribute 'action' cannot be read: out of order"):
        check_repairs({"mine": Broken()})
