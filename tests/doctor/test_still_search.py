"""The search of loops whose update is lost."""

from contextlib import suppress

import pytest

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.instrument import Sites, instrument
from rnncallbacks.doctor.loop_search import SearchEnded
from rnncallbacks.doctor.script_process import hooks
from rnncallbacks.doctor.still_search import StillSearch

SOURCE = """
import numpy as np

def main():
    w, v, losses = np.ones(3), np.ones(2), []
    for i in range(9):
        loss, dw, dv = 0.0, np.zeros(3), np.zeros(2)
        for t in range(5):
            loss += np.sin(i + t)
        for t in range(5):
            dw = dw + np.cos(i + t)
            dv = dv + {gradient}
        new_w, new_v = w - dw, v - dv
        {kept}

main()
"""


LOOP = ["for i in range(9):"]


@pytest.mark.parametrize(
    ("gradient", "kept", "found"),
    [
        ("np.cos(i - t)", "", LOOP),
        ("0.0", "", []),
        ("np.cos(i - t)", "losses.append(loss); del loss", LOOP),
        ("np.cos(i - t)", "del loss", []),
    ],
)
def test_the_loop_whose_loss_and_gradients_differ_at_each_tick_is_found(gradient, kept, found):
    sites, modules = Sites(), OwnModules({"still"})
    watcher = StillSearch(sites, modules, set(), 20.0)
    code = instrument(SOURCE.format(gradient=gradient, kept=kept), "script.py", sites)
    with hooks(watcher), suppress(SearchEnded):
        exec(code, {"__name__": "still"})
    assert [one.site.source for one in watcher.candidates.values()] == found
