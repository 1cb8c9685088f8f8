"""One plugin object belongs to one run at a time."""

import contextlib

import pytest

from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.run import Run
from rnncallbacks.errors import PluginError


class Ends:
    def __init__(self):
        self.count = 0

    @hookimpl
    def on_fit_end(self):
        self.count += 1


def test_a_plugin_of_a_run_that_has_not_ended_is_refused_and_hears_nothing_of_the_other():
    plugin, other = Ends(), Ends()
    with Run(plugins=[plugin]) as first:
        next(first.epochs(1))
        with Run(plugins={"mine": other, "shared": plugin}) as second:
            epochs = second.epochs(1)
            with pytest.raises(PluginError, match="'shared' is in another run, which has not ended"):
                next(epochs)
        assert (plugin.count, other.count) == (0, 0)
        with Run(plugins=[other]) as third:
            next(third.epochs(1))
            with pytest.raises(PluginError, match="is in another run"):
                third.register(plugin, "shared")
    assert (plugin.count, other.count) == (1, 1)


@pytest.mark.parametrize("error", [None, ValueError])
def test_a_plugin_of_a_run_that_ended_is_free(error):
    plugin = Ends()
    for _ in range(2):
        with contextlib.suppress(ValueError), Run(plugins=[plugin]) as run:
            for _ in run.epochs(1):
                if error is not None:
                    raise error
    assert plugin.count == 2


def test_a_plugin_that_was_taken_out_is_free_and_so_is_one_of_a_run_that_was_dropped():
    plugin = Ends()
    with Run(plugins=[plugin]) as first:
        next(first.epochs(1))
        first.unregister("ends")
        with Run(plugins=[plugin]) as second:
            next(second.epochs(1))
    dropped = Run(plugins=[plugin]).__enter__()
    next(dropped.epochs(1))
    del dropped
    with Run(plugins=[plugin]) as third:
        next(third.epochs(1))
