"""The search of loops that update their parameters every few iterations."""

import pytest

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.instrument import Sites, instrument
from rnncallbacks.doctor.loop_search import SearchEnded
from rnncallbacks.doctor.periodic_search import PeriodicSearch
from rnncallbacks.doctor.script_process import hooks

SOURCE = """
import numpy as np

def main():
    w, v, kept, noise = np.ones(3), np.ones(2), np.ones(2), np.ones(4)
    dw, dv = np.zeros(3), np.zeros(2)
    for i in range({begin}, 60):
        noise = np.sin(np.arange(4) + i)
        dw += 0.1
        dv += 0.2
        if {when}:
            w -= 0.1 * dw
            v -= 0.1 * dv
            dw[:] = 0
            dv[:] = 0

main()
"""


def search(**options):
    sites, modules = Sites(), OwnModules({"accumulating"})
    watcher = PeriodicSearch(sites, modules, set(), 20.0)
    code = instrument(SOURCE.format(**options), "script.py", sites)
    with hooks(watcher):
        try:
            exec(code, {"__name__": "accumulating"})
        except SearchEnded:
            (found,) = watcher.candidates.values()
            return found
    return None


@pytest.mark.parametrize(
    ("begin", "when", "period", "first"),
    [(1, "i % 4 == 0", 4, 1), (0, "(i + 1) % 7 == 0", 7, 1), (0, "i % 5 == 0", 5, 2), (3, "i % 4 == 0", 4, 3)],
)
def test_arrays_that_change_together_at_equal_distances_are_found(begin, when, period, first):
    found = search(begin=begin, when=when)
    assert (found.period, found.first) == (period, first)
    assert {"w", "v"} <= set(found.names)
    assert not {"noise", "kept"} & set(found.names)


@pytest.mark.parametrize("when", ["True", "i in (3, 9, 11, 30)", "False"])
def test_arrays_that_change_in_each_iteration_or_irregularly_are_not(when):
    assert search(begin=0, when=when) is None
