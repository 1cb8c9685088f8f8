import time

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.loop_search import LoopCandidate, likeliest_first
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


SAMPLER = """
import numpy as np

rng = np.random.default_rng(0)
W, U, b, V = (rng.standard_normal(shape) * 0.3 for shape in ((3, 8), (8, 8), (1, 8), (8, 1)))
memory = [np.zeros_like(w) for w in (W, U, b, V)]

def sample(h, steps):
    for _ in range(steps):
        x = np.tanh(h[:, :3])
        h = 0.5 * h + np.tanh(x @ W + h @ U + b)
    return h

for step in range(100):
    if step == 0:
        sample(np.ones((1, 8)), 40)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 1))
    h = np.tanh(x @ W + b)
    d = h @ V - y
    dh = d @ V.T * (1 - h * h)
    for w, g, m in zip((W, U, b, V), (x.T @ dh, 0.1 * U, dh.sum(0), h.T @ d), memory):
        m += g * g
        w -= 0.1 * g / np.sqrt(m + 1e-8)
"""


def test_a_loop_that_draws_a_sample_does_not_end_the_search(tmp_path):
    assert {"W", "U", "b", "V"} <= found(tmp_path, SAMPLER)["for step in range(100):"]


def test_a_loop_is_preferred_to_the_one_around_it_only_if_it_changes_its_arrays():
    site = Site("loop", "script.py", 1, "for ...", "<module>")
    weights = frozenset(("end", "__main__", name) for name in "WUbV")
    state = frozenset({("end", "sample", "h"), ("end", "sample", "c")})
    epochs, batches = LoopCandidate(site, 5, (), weights | state), LoopCandidate(site, 4, (), weights)
    assert likeliest_first([batches, epochs]) == [batches, epochs]
    sampling = LoopCandidate(site, 2, (), state)
    assert likeliest_first([sampling, epochs]) == [epochs, sampling]


SUMMING = """
import numpy as np

rng = np.random.default_rng(0)
W, V = rng.standard_normal((3, 3)) * 0.3, rng.standard_normal((3, 3)) * 0.3
for batch in range(6):
    dW, dV = np.ones((3, 3)), np.ones((3, 3))
    for t in range(6):
        dW += 0.1 * rng.standard_normal((3, 3))
        dV += 0.1 * rng.standard_normal((3, 3))
    W -= 0.01 * dW
    V -= 0.01 * dV
"""


def test_a_loop_keeps_its_parameters_if_another_loop_updates_them_between_its_executions(tmp_path):
    inner = "    W -= 0.01 * dW\n    V -= 0.01 * dV\n"
    validation = inner.replace("dW", "np.ones((3, 3))").replace("dV", "np.ones((3, 3))")
    source = SUMMING.replace(inner, "        W -= 0.01 * dW\n        V -= 0.01 * dV\n" + validation)
    assert found(tmp_path, source)["for t in range(6):"] >= {"W", "V"}


def test_a_loop_whose_sums_begin_anew_in_each_execution_is_no_training_loop(tmp_path):
    candidates = found(tmp_path, SUMMING)
    assert candidates["for batch in range(6):"] >= {"W", "V"}
    assert "for t in range(6):" not in candidates
