"""Whether a script with a Run has a loop that no run drives."""

import ast

import pytest

from rnncallbacks.doctor.loops_beside_runs import may_train_without_run

WITH_RUN = """
def step(w, g):
    w -= 0.1 * g

with Run(w) as run:
    for epoch in run.epochs(3):
        for x in run.batches(data):
            for t in range(3):
                w -= 0.1 * x[t]
            step(w, x)
"""
MORE = {
    "": False,
    "for t in range(9):\n    x[t + 1] = x[t] + 1\n": False,
    "for seed in range(3):\n    with Run(w) as run:\n        w -= 1\n": False,
    "while True:\n    v -= 0.1 * dv\n": True,
    "while True:\n    v = v - 0.1 * dv\n": True,
    "def descend(v, g):\n    v += -0.1 * g\nfor x in data:\n    descend(v, x)\n": True,
}


@pytest.mark.parametrize("more", MORE)
def test_loops_with_what_looks_like_an_update(more):
    assert may_train_without_run([ast.parse(WITH_RUN), ast.parse(more)]) is MORE[more]
