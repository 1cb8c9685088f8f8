"""Items that a loop reads by its variables have values, and a replay can replace them."""

import ast
import sys

import numpy as np
import pytest

from rnncallbacks.doctor.loop_items import ItemReader, items_of, replace_item, value_of

LOOPS = {
    "a row and its label": ("for i in rows:\n  h = f(X[i])\n  e = h - y[i]", ("X[i]", "y[i]")),
    "columns read step by step": (
        "for i in rows:\n  for t in reversed(range(1, T)):\n    f(d[i, t], d[i, T + t], d[i, t - 1])",
        ("d[i, 1:T]", "d[i, T + 1:T + T]", "d[i, 1 - 1:T - 1]"),
    ),
    "a window": ("for i in rows:\n  z = [s[k] for k in range(i - T, i)]\n  e = s[i]", ("s[i - T:i]", "s[i]")),
    "an index assigned in the loop": ("for b in batches:\n  k = pick(b)\n  f(self.X[k])", ("self.X[k]",)),
    "rows in an order": ("for i in rows:\n  f(X[order[i]])", ("X[order[i]]", "order[i]")),
    "a counter": ("while True:\n  f(X[n])\n  n += 1", ("X[n]",)),
    "a counter that has changed": ("while True:\n  n += 1\n  f(X[n])", ()),
    "an array of the iteration": ("for i in rows:\n  p = f(i)\n  e = p[i]", ()),
    "an inner loop over something else": ("for i in rows:\n  for t, x in pairs:\n    f(X[i, t], W[t], W[0])", ()),
    "a part of the way": ("for i in rows:\n  for j in keys:\n    f(X[i][j])", ("X[i]",)),
}


@pytest.mark.parametrize(("loop", "expected"), LOOPS.values(), ids=LOOPS)
def test_the_items_that_a_loop_reads(loop, expected):
    assert items_of(ast.parse(loop).body[0]).texts == expected


def test_items_are_those_of_the_iteration_also_when_its_variables_have_changed():
    items = items_of(ast.parse("for i in rows:\n  k = 1 - i\n  f(x[i], x[k], words[i])").body[0])
    reader, x, words, i, k = ItemReader(), np.array([3.0, 4.0]), ["a", "b"], 0, 0
    frame = sys._getframe()
    at_start = dict(reader.values(items, frame, "f", at_start=True))
    i, k = 1, 1
    assert (x.size, len(words), i, k) == (2, 2, 1, 1)
    assert at_start == {("end", "f", "x[i]"): 3.0}
    assert dict(reader.values(items, frame, "f", at_start=False)) == {
        ("end", "f", "x[i]"): 3.0,
        ("end", "f", "x[k]"): 4.0,
    }


@pytest.mark.parametrize(
    ("expression", "value", "replaced", "expected"),
    [
        ("x[i]", 1, True, [2, 2, 2]),  # of another row
        ("x[rows]", np.array([7, 8]), True, [7, 8, 2]),
        ("same[i]", 5, False, [5, 5]),
        ("fixed[i]", 1, False, (1, 2)),
        ("x", np.array([1]), False, [1, 2, 2]),
    ],
)
def test_items_are_replaced(expression, value, replaced, expected):
    names = {"x": np.array([1, 2, 2]), "same": [5, 5], "fixed": (1, 2), "i": 0, "rows": [0, 1]}
    assert replace_item(expression, names, value) is replaced
    assert list(names[expression.split("[")[0]]) == list(expected)


def test_no_property_of_the_script_is_computed():
    owner = type("Owner", (), {"rows": property(lambda self: 1 / 0)})()
    assert value_of("owner.rows[i]", {"owner": owner, "i": 0}) is None
