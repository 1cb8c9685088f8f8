"""One process runs a script once for each question, as long as the script repeats its values in it."""

import builtins
import os
import sys
import time
import types
import warnings

import numpy as np
import pytest

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.process_state import process_state
from rnncallbacks.doctor.rerun_iteration import RerunScript
from rnncallbacks.doctor.sandbox import ScratchFolder
from rnncallbacks.doctor.script_process import Assignment
from rnncallbacks.doctor.watch_messages import ReplayRequest, RerunRequest

SCRIPT = """\
import os, sys
import numpy as np
import layers
OLD = os.path.exists("weights.txt") or "SEEN" in os.environ or hasattr(layers, "seen")
os.environ["SEEN"] = layers.seen = "yes"
open("weights.txt", "w").close()
W = np.ones(3) + OLD + np.random.rand()
{before}
try:
    for step in range(5):
        W *= 2
        size = W.sum()
        if np.isnan(size):
            raise ValueError("not a number")
except BaseException:
    pass
for _ in range(9):
    W += 1
"""
WEIGHTS, SIZE = ("end", "__main__", "W"), ("end", "__main__", "size")


@pytest.mark.parametrize(
    ("before", "repeats"),
    [("W += 0", True), ("np.runs = vars(np).get('runs', 0) + 1; W += np.runs", False)],
    ids=["a script", "a script that changes an installed package"],
)
def test_a_script_is_run_again_in_its_process_if_it_repeats_its_values(tmp_path, before, repeats):
    (tmp_path / "layers.py").write_text("x = 1\n")
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(before=before))
    until = time.monotonic() + 60.0
    with ScratchFolder() as scratch:
        assignment = Assignment(path, scratch.new_place(), loop=(str(path), 10), seed=0)
        script = RerunScript(assignment, until, scratch.new_place)
        try:
            records = [script.answer(RerunRequest(number, ReplayRequest())) for number in (2, 1, 3)]
            process = script._process
            pushed = script.answer(RerunRequest(2, ReplayRequest({WEIGHTS: np.zeros(3)})))
            assert script.repeats is repeats
            assert (script._process is not None and script._process is process) is repeats
        finally:
            script.close()
        scratch.remove()
    assert [record.end[SIZE] for record in records[1:]] == [records[0].end[SIZE] / 2, records[0].end[SIZE] * 2]
    assert pushed.end[SIZE] == 0


def test_a_run_leaves_the_process_as_it_was(tmp_path):
    before = os.getcwd(), list(sys.path), dict(os.environ), np.geterr(), sys.modules["__main__"], list(warnings.filters)
    modules = OwnModules({"__main__", "module_of_the_user"})
    with process_state(modules):
        sys.modules["__main__"] = sys.modules["module_of_the_user"] = types.ModuleType("__main__")
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
        os.environ["SEEN"], builtins.seen, sys.stdout = "yes", True, None
        np.seterr(all="raise")
        np.random.default_rng = None
        warnings.simplefilter("error")
    assert before == (
        os.getcwd(), list(sys.path), dict(os.environ), np.geterr(), sys.modules["__main__"], list(warnings.filters),
    )  # fmt: skip
    assert "module_of_the_user" not in sys.modules
    assert not hasattr(builtins, "seen")
    assert sys.stdout is not None
    assert np.random.default_rng(0).random() > 0
