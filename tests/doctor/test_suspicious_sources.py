"""The lines from which a wrong gradient or a learning rate comes."""

import pytest

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.rate_origin import loops_around, rate_origins
from rnncallbacks.doctor.roles.role_table import Roles
from rnncallbacks.doctor.source_lines import AssigningStatements
from rnncallbacks.doctor.suspicion import Suspicion
from rnncallbacks.doctor.value_flow import statements_of_wrong

BACKWARD = """
def backward(hs, ps, Why, Whh):
    dWhh, dWhy, dh_next = 0.0, 0.0, 0.0
    for t in reversed(range(9)):
        dy = ps[t] - 1
        dWhy += dy * hs[t]
        dh = Why.T @ dy + dh_next
        da = (1 - hs[t] ** 2) * dh
        dWhh += da @ hs[t - 1].T
        dh_next = Whh.T @ da
    return dWhh, dWhy
"""


def alarm_of(code, **evidence):
    return Alarm(code=code, cause="", message="", evidence=evidence, remedy="", severity="warning", epoch=1, step=1)


@pytest.fixture
def statements(tmp_path):
    def read(source):
        path = tmp_path / "script.py"
        path.write_text(source)
        return AssigningStatements([str(path)])

    return read


def test_a_wrong_gradient_comes_from_what_no_right_one_depends_on(statements):
    known = statements(BACKWARD)
    wrong, right = ([one for one in known.all if one.source.startswith(text)] for text in ("dWhh +=", "dWhy +="))
    found = {one.source for one in statements_of_wrong(known.all, [wrong], [right])}
    assert {"dh_next = Whh.T @ da", "dh = Why.T @ dy + dh_next", "da = (1 - hs[t] ** 2) * dh"} <= found
    assert "dy = ps[t] - 1" not in found


@pytest.mark.parametrize(
    ("source", "update", "origin"),
    [
        ("w = 1\nhidden, lr = 20, 0.5\nw -= lr * 2", 3, "hidden, lr = 20, 0.5"),
        ("def step(w, lr=0.1):\n    w -= lr * 2\nrate = 3.0\nstep(1, rate)", 2, "rate = 3.0"),
        ("def step(w, lr=0.1):\n    w -= lr * 2\nstep(1)", 2, "def step(w, lr=0.1):"),
        (
            "class SGD:\n    def __init__(self, lr):\n        self.lr = lr\n    def step(self, w):\n"
            "        w -= self.lr * 2\noptimizer = SGD(lr=4.0)",
            5,
            "optimizer = SGD(lr=4.0)",
        ),
        ("parser.add_argument('--lr', default=9.0)\nargs = parser.parse_args()\nw -= args.lr * 2", 3, None),
        ("lr = 6.0\nscale = lr / 2\nw -= scale * 2", 3, None),
        ("cfg = {'lr': 7.0}\nw -= cfg['lr'] * 2", 2, "cfg = {'lr': 7.0}"),
    ],
)
def test_a_rate_is_followed_to_its_number(statements, source, update, origin):
    known = statements(source)
    (found,) = rate_origins(known.sources, [(known.sources[0].file, update)])
    assert found.source == (origin or source.splitlines()[0])


def test_the_loops_around_an_update_go_through_the_parameters(statements):
    known = statements("for epoch in range(3):\n    for p, g in pairs:\n        p -= 0.1 * g")
    assert [one.line for one in loops_around(known.sources, [(known.sources[0].file, 3)])] == [2, 1]


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (("shown", "script.py:5", "total / 20"), [5]),
        (("end", "<module>", "curve"), [4, 3]),
        (("end", "<module>", "mean"), [3]),
        (None, []),
    ],
)
def test_a_wrong_report_comes_from_what_is_divided(statements, report, lines):
    known = statements("total = 0\ntotal += loss\nmean = total / 30\ncurve.append(mean)\nprint('epoch', total / 20)\n")
    suspicion = Suspicion(
        known, Roles(loss=None, loss_confidence="unsure"), IterationRecord(1, 1), Site("loop", "", 0, "", "<module>")
    )
    suspicion.reports = {"train": report, "val": ("end", "<module>", "total")}
    assert [one.line for one in suspicion.lines(alarm_of("RNN101", train_divisor=20.0))] == lines
