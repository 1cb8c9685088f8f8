import time

from rnncallbacks.doctor.sandbox import ScratchFolder
from rnncallbacks.doctor.script_process import Assignment
from rnncallbacks.doctor.watched_script import search_loop

CONSUMER = """
import numpy as np

def batches(rng):
    for size in (4, 4, 4, 4, 4, 4, 4, 4):
        yield rng.standard_normal((size, 3))

rng = np.random.default_rng(0)
w, v = np.ones((3, 2)), np.ones(2)
for x in batches(rng):
    h = np.tanh(x @ w)
    error = h @ v - x.sum(axis=1)
    dw, dv = x.T @ (error[:, None] * v * (1 - h * h)), h.T @ error
    w -= 0.01 * dw
    v -= 0.01 * dv
"""


def found(tmp_path, source):
    path = tmp_path / "script.py"
    path.write_text(source)
    with ScratchFolder() as scratch:
        assignment = Assignment(path, scratch.new_place(), excluded=frozenset(), seconds=10.0)
        candidates, error = search_loop(assignment, time.monotonic() + 20.0)
    assert error is None
    return {one.site.source: set(one.names) for one in candidates}


def test_a_loop_is_followed_while_the_loop_of_its_generator_is_left_and_entered(tmp_path):
    assert {"w", "v"} <= found(tmp_path, CONSUMER)["for x in batches(rng):"]
