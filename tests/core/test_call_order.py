"""The order in which plugins are called: what is told of it is what happens, and what the documentation says."""

import re
from pathlib import Path

from rnncallbacks.config.configuration import load_plugins, recommended
from rnncallbacks.core.call_order import MAY_CHANGE, call_order
from rnncallbacks.core.hookspecs import HOOKS
from rnncallbacks.core.plugin_manager import Plugins

DOCUMENTED = {
    "ahead": "`ahead`",
    "around": "`wrapper`",
    "first": "`tryfirst`",
    "as listed": "as listed",
    "last": "`trylast`",
}


def test_the_order_is_that_of_the_calls():
    plugins = Plugins({**load_plugins({"plugins": {"self_repair": {}, "history_log": {}}}), **recommended()})
    for hook in HOOKS:
        positions = call_order(plugins, hook)
        assert [one.plugin for one in positions] == [one.plugin_name for one in plugins.implementations(hook)]
        places = [list(DOCUMENTED).index(one.place) for one in positions]
        assert places == sorted(places)


def test_what_may_be_changed_is_documented_for_each_hook_and_place():
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "order.md").read_text("utf-8")
    rows, hook = [], ""
    for first, place in re.findall(r"^\| (?:`(on_\w+)`)? ?\| ([^|]+) \|", text, flags=re.MULTILINE):
        hook = first or hook
        rows.append((hook, place))
    for hook in HOOKS:
        places = [place for one, place in rows if one == hook]
        assert places in (["all"], [DOCUMENTED["ahead"], "others"]) or places == [
            DOCUMENTED[place]
            for place in DOCUMENTED
            if place in MAY_CHANGE[hook] or (hook, place) == ("on_backward", "around")
        ]
