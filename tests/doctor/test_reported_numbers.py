"""What a loop reports only in some iterations is evaluated at the end of each, if that has no effect."""

import sys

import numpy as np
import pytest

from rnncallbacks.doctor import instrument
from rnncallbacks.doctor.instrument import Site, Sites
from rnncallbacks.doctor.reported_numbers import LoopReports, names_read, reported_numbers

SOURCE = """
def train(pairs, seen):
    losses = []
    for k, (out, y) in enumerate(pairs):
        error = out - y
        step1, step2 = error[0] ** 2, error[1] ** 2
        if k % 100 == 99:
            cost = 0.5 * (error ** 2).sum()
            print('step', k, np.mean((out - y) ** 2), step1 + step2, 'of ' + str(losses), seen.pop() + 1.0)
        tick()
    print(sum(losses) + 1.0)
"""


@pytest.fixture(scope="module")
def reported():
    """The numbers of both iterations, as they are known after the loop's variables have those of the next one."""
    sites, found = Sites(), []
    names = {name: lambda *_: None for name in vars(instrument) if name.isupper()}
    names |= {getattr(instrument, name): lambda *_: None for name in ("START", "TICK", "END", "BEFORE")}
    exec(instrument.instrument(SOURCE, "script.py", sites), names | {"np": np}, names)
    loop = next(site for site in sites.known if site.kind == "loop")
    reports = LoopReports(sites)

    def tick():
        frame = sys._getframe(1)
        reports.begin(loop, frame, 1)
        found.append(reports.values("train", frame, lambda *_: True))

    seen = [1.0]
    names["train"].__globals__["tick"] = tick
    names["train"].__globals__[instrument.SHOWN] = lambda *given: given[2]
    names["train"].__globals__[instrument.RETURN] = lambda *given: given[1]
    names["train"]([(np.array([2.0, 4.0]), np.zeros(2)), (np.array([1.0, 1.0]), np.zeros(2))], seen)
    return found, seen


def test_sums_and_means_in_a_print_are_evaluated_in_each_iteration(reported):
    (first, second), _ = reported
    assert first == {
        ("end", "train", "0.5 * (error ** 2).sum()"): 10.0,
        ("end", "train", "np.mean((out - y) ** 2)"): 10.0,
        ("end", "train", "step1 + step2"): 20.0,
    }
    assert second["end", "train", "step1 + step2"] == 2.0


def test_what_has_an_effect_is_not_evaluated(reported):
    assert reported[1] == [1.0]


class Effects:
    """An object that counts the calls of its own code."""

    def __init__(self):
        self.calls, self.error, self.errors = 0, np.array([1.0, 3.0]), {"a": [2.0]}

    def count(self, *_):
        self.calls += 1
        return self.error

    noisy = property(count)
    __getitem__ = __add__ = __radd__ = __mul__ = __getattr__ = count


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("np.mean(net.error ** 2)", 5.0),
        ("net.errors['a'][n - 1] + 1.0", 3.0),
        ("net.error[1:].sum() / n", 3.0),
        ("np.mean(net.noisy ** 2)", None),
        ("np.mean(net.made_when_read)", None),
        ("np.mean(net[0])", None),
        ("net + 1.0", None),
        ("sum(steps)", None),
        ("net.error[steps[0] * 1].sum()", None),
    ],
)
def test_code_of_the_script_is_not_run(expression, value):
    net = Effects()
    (reported,) = reported_numbers([Site("output", "a.py", 2, "", "f", shown=expression)])
    assert reported.value({"np": np, "net": net, "n": 1, "steps": [net]}) == value
    assert net.calls == 0


def test_several_iterations_in_one_have_no_number_of_their_own():
    reports = LoopReports(Sites())
    reports.begin(instrument.Site("loop", "a.py", 1, "", "f"), sys._getframe(), 4)
    assert reports.values("f", sys._getframe(), lambda *_: True) == {}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("loss", ["loss"]),
        ("sum(losses) / len(losses)", ["losses", "losses"]),
        ("loss summed over 2", ["loss summed over 2"]),
    ],
)
def test_the_names_of_an_expression(expression, names):
    assert names_read(expression) == names
