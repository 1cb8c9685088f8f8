import types

import numpy as np
import pytest

from rnncallbacks.doctor import instrument
from rnncallbacks.doctor.instrument import Sites
from rnncallbacks.errors import DataError


def run(source):
    """Run instrumented source; its names and the calls that it made, each as the hook and its arguments."""
    calls = []

    def note(name):
        def hook(*arguments):
            calls.append((name, *arguments))
            return arguments[1] if name == instrument.RETURN else None

        return hook

    names = {
        name: note(name)
        for name in (instrument.START, instrument.TICK, instrument.END, instrument.RETURN, instrument.BEFORE)
    }
    sites = Sites()
    exec(instrument.instrument(source, "script.py", sites), names)
    return names, calls, sites


def test_loops_start_tick_and_end_also_when_they_break():
    _, calls, sites = run("for i in range(9):\n    if i == 1:\n        break\n")
    assert [name for name, *_ in calls] == [instrument.START, instrument.TICK, instrument.TICK, instrument.END]
    assert (sites[0].kind, sites[0].line, sites[0].source) == ("loop", 1, "for i in range(9):")


@pytest.mark.parametrize(
    ("statement", "ticks"),
    [
        ("found = [step(x) for x in range(2)]", 2),
        ("found = sorted([step(x) for x in range(2)])", 2),
        ("found = [abs(x) for x in range(2)]", 0),
        ("found = [step(x) for x in range(2) if x < 9]", 0),
        ("found = [step(x) for x in (0, 1)]", 0),
        ("x = 5; found = [step(x) for x in range(2)]; found[x - 5] += x - 5", 0),
    ],
)
def test_a_comprehension_that_calls_a_function_is_a_loop(statement, ticks):
    names, calls, _ = run(f"step = float\n{statement}\n")
    assert names["found"] == [0.0, 1.0]
    assert [name for name, *_ in calls].count(instrument.TICK) == ticks


def test_functions_return_what_they_returned():
    names, calls, _ = run("def f(x):\n    return x + 1\ndef g():\n    pass\na, b = f(2), g()\n")
    assert (names["a"], names["b"]) == (3, None)
    assert [arguments[1] for name, *arguments in calls if name == instrument.RETURN] == [3, None]


def test_a_generator_is_left_as_it_is():
    names, calls, sites = run("def f():\n    for i in range(2):\n        yield i\na = list(f())\n")
    assert names["a"] == [0, 1]
    assert not [name for name, *_ in calls if name == instrument.RETURN]
    assert next(site for site in sites.known if site.kind == "loop").generator


@pytest.mark.parametrize(
    ("statement", "text", "additive"),
    [
        ("w += 1", "w", True),
        ("w *= 0", "w", False),
        ("d['a'] /= 2", "d['a']", False),
        ("w[0:1] = 3", "w", False),
        ("np.clip(w, 0, 1, out=w)", "w", False),
        ("w.fill(0)", "w", False),
        ("np.copyto(w, 1)", "w", False),
        ("w = w * 2", "w", False),
    ],
)
def test_a_change_is_announced(statement, text, additive):
    _, calls, sites = run(f"import numpy as np\nw = np.ones(2)\nd = {{'a': np.ones(2)}}\n{statement}\n")
    (call,) = [call for call in calls if call[0] == instrument.BEFORE]
    assert call[2] == text
    assert sites[call[1]].additive == additive


def test_a_change_of_something_that_is_computed_is_not_computed_twice():
    names, _, _ = run("seen = []\ndef f():\n    seen.append(1)\n    return [0]\nf()[0] += 1\n")
    assert names["seen"] == [1]


def test_a_name_that_is_not_bound_raises_as_before():
    with pytest.raises(NameError, match="nothing"):
        run("nothing += 1\n")


def test_docstring_and_future_imports_stay_first():
    names, _, _ = run('"""Doc."""\nfrom __future__ import annotations\nx = 1\n')
    assert (names["__doc__"], names["x"]) == ("Doc.", 1)


def test_line_numbers_stay_as_they_are():
    names, *_ = run("def f():\n    for i in range(1):\n        raise ValueError\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        names["f"]()
    assert caught.traceback[-1].lineno == 2
    assert isinstance(names["f"], types.FunctionType)


def test_source_that_is_no_python_is_refused_with_its_line():
    with pytest.raises(DataError, match=r"script\.py:2: "):
        run("x = 1\nprint 'loss'\n")


@pytest.mark.parametrize(
    ("statement", "operands", "additive"),
    [
        ("w -= lr * g", {"lr": 2.0, "g": 3.0}, True),
        ("w = w - lr * grads['g'] / np.sqrt(m)", {"lr": 2.0, "grads['g']": 4.0, "m": 5.0}, True),
        ("w = 0.9 * w + g", {"g": 3.0}, False),
        ("np.add.at(w, 0, g)", {}, True),
        ("w -= sum(one for one in [g])", {}, True),
    ],
)
def test_a_change_passes_what_it_reads(statement, operands, additive):
    setting = "import numpy as np\nw, lr, g, m, grads = np.ones(2), 2.0, 3.0, 5.0, {'g': 4.0}\n"
    _, calls, sites = run(setting + statement)
    (change,) = (call for call in calls if call[0] == instrument.BEFORE)
    shown = {name: value for name, value in zip(change[5], change[6], strict=True) if isinstance(value, float)}
    assert (shown, sites[change[1]].additive) == (operands, additive)


@pytest.mark.parametrize(
    ("statement", "gradient"),
    [
        ("w -= lr * d.sum(0)", [3.0, 5.0]),
        ("w = w - 0.5 * (d * 2)[0]", [2.0, 4.0]),
        ("w += -lr * d.T @ np.ones(2)", [3.0, 5.0]),
        ("w -= lr * g", None),
        ("w -= np.dot(d, g)", None),
    ],
)
def test_a_product_that_is_added_is_passed_on_with_its_rate(statement, gradient):
    passed = []

    def term(number, text, value, base, rate):
        passed.append(np.abs(value / rate).tolist())
        assert base is names["w"]
        return value

    names = {instrument.BEFORE: lambda *_: None, instrument.TERM: term, "np": np, "lr": 0.1}
    names |= {"w": np.zeros(2), "d": np.array([[1.0, 2.0], [2.0, 3.0]]).T.copy().T, "g": np.ones(2)}
    exec(instrument.instrument(statement, "script.py", Sites()), names)
    assert [np.round(one, 12).tolist() for one in passed] == ([] if gradient is None else [gradient])
