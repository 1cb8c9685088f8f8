"""The lines from which a wrong gradient or a learning rate comes."""

import attrs
import numpy as np
import pytest

from rnncallbacks.alarms.alarm import Alarm
from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.rate_origin import loops_around, loops_of_calls, rate_origins
from rnncallbacks.doctor.roles.role_table import ParameterRole, Roles
from rnncallbacks.doctor.source_lines import AssigningStatements
from rnncallbacks.doctor.suspicion import Suspicion
from rnncallbacks.doctor.value_flow import (
    calls_with_argument,
    nearer_to_wrong,
    passed_on,
    statements_of_wrong,
    sums_read_by,
)

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


KEYED = """
def derivative(e, hs, R, B):
    d = {'B': hs[-1].T @ e}
    d['R'] = 0 * R
    flow = e @ B.T
    for t in range(9):
        d['R'] = d['R'] + hs[t].T @ flow
        flow = flow @ R
    return d
"""


def test_items_of_one_container_do_not_depend_on_each_other(statements):
    known = statements(KEYED)
    wrong, right = (known.of(f"d['{name}']", "derivative") for name in "RB")
    assert [one.line for one in right] == [3]
    assert [one.source for one in statements_of_wrong(known.all, [wrong], [right])][:2] == [
        "d['R'] = d['R'] + hs[t].T @ flow",
        "flow = flow @ R",
    ]


def test_what_carries_a_value_to_the_next_step_comes_second(statements):
    known = statements(BACKWARD)
    wrong, right = ([one for one in known.all if one.source.startswith(text)] for text in ("dWhh +=", "dWhy +="))
    assert statements_of_wrong(known.all, [wrong], [right])[1].source == "dh_next = Whh.T @ da"


def test_without_a_statement_behind_every_wrong_gradient_those_behind_most_are_taken(statements):
    known = statements(BACKWARD + "loss, emb = backward(hs, ps, Why, Whh)")
    wrong = [[one for one in known.all if text in one.source] for text in ("dWhh +=", "dh_next = W", "loss, emb")]
    assert "da = (1 - hs[t] ** 2) * dh" in {one.source for one in statements_of_wrong(known.all, wrong, [])}


def test_what_assigns_one_wrong_gradient_may_be_behind_all_of_them(statements):
    known = statements(
        BACKWARD.replace("dy = ps[t] - 1", "dy = ps[t].copy()\n        dy[ys[t]] += 1\n        dby += dy")
    )
    wrong = [[one for one in known.all if text in one.source] for text in ("dWhh +=", "dWhy +=", "dby +=", "dy[ys")]
    assert statements_of_wrong(known.all, wrong, [])[0].source == "dy[ys[t]] += 1"


LAYERS = """
class Layer:
    def backward(self, dout):
        dx = np.zeros_like(self.x)
        for t in range(9):
            da = dout[t] * (1 - self.h[t] ** 2)
            self.gW += self.x[t].T @ da
            dx[t] = da @ self.W
        return dx
class Dense:
    def backward(self, dout):
        self.gV += self.x.T @ dout
        return dout @ self.V
low.backward(high.backward(dense.backward(delta)) * mask)
"""


@pytest.mark.parametrize(
    ("wrong", "right", "lines"),
    [
        ("self.gW +=", "self.gW +=", [8, 14]),  # of two layers, one is right
        ("self.gW +=", "self.gV +=", [13]),
        ("self.gW +=", "nothing", []),
    ],
)
def test_a_layer_may_be_given_a_wrong_gradient(statements, wrong, right, lines):
    known = statements(LAYERS)
    accused, cleared = ([one for one in known.all if one.source.startswith(text)] for text in (wrong, right))
    assert [one.line for one in passed_on(known.all, [accused], [cleared])] == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("for x in data:\n    h = 0 * h\n    f(x, h)", [2]),
        ("def f(x):\n    hs, out = [np.zeros(3)], []\n    dW = np.zeros(3)\nfor x in data:\n    f(x)", [2]),
        ("def f(x):\n    x = 10 * x\nfor x in data:\n    f(x)", []),
        ("h = np.zeros(3)\ntotal = 0\nfor x in data:\n    loss, _ = f(x, h)\n    total += loss", [4, 1]),
    ],
)
def test_the_statement_that_makes_the_entering_zeros_is_shown(statements, source, lines):
    known = statements(source)
    line = 1 + source[: source.index("for x")].count("\n")
    loop = Site("loop", known.sources[0].file, line, "for x in data:", "<module>")
    suspicion = Suspicion(known, Roles(loss=None, loss_confidence="unsure"), IterationRecord(1, 1), loop)
    assert [one.line for one in suspicion.lines(alarm_of("RNN203"))] == lines


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
        ("step(v, 8.0)\ndef step(vel, lr):\n    vel[k] = vel[k] - lr * g\n    m[k] += vel[k]", 4, None),
        ("lr, mu = 5.0, 0.9\nv -= lr * g\nw += v", 3, None),
        ("cfg = {'lr': 7.0}\nw -= cfg['lr'] * 2", 2, "cfg = {'lr': 7.0}"),
    ],
)
def test_a_rate_is_followed_to_its_number(statements, source, update, origin):
    known = statements(source)
    (found,) = rate_origins(known.sources, [(known.sources[0].file, update)])
    assert found.source == (origin or source.splitlines()[0])


def test_a_rate_that_decays_too_fast_is_scaled_in_the_loop(statements):
    source = "lr = 0.5\nfor x in data:\n    for p, g in pairs:\n        p -= lr * g\n    lr *= 0.8\n"
    known = statements(source)
    path = known.sources[0].file
    weights, change = ("end", "__main__", "w"), Site("change", path, 4, "p -= lr * g", "<module>")
    roles = Roles(loss=None, loss_confidence="unsure", parameters=(ParameterRole("w", weights),))
    record = IterationRecord(1, 1, start_identities={weights: 7}, changes={7: (change,)})
    suspicion = Suspicion(known, roles, record, Site("loop", path, 2, "for x in data:", "<module>"))
    assert [one.line for one in suspicion.lines(alarm_of("RNN502"))] == [4, 5, 1, 3]
    assert [one.line for one in suspicion.lines(alarm_of("RNN501"))] == [4, 3, 2, 1]


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


def test_updates_of_a_validation_are_those_written_again_and_calls_of_their_function(statements):
    known = statements(
        "def step(w, g):\n    w -= 0.1 * g\nfor x in train:\n    w -= 0.1 * g\nfor x in val:\n    step(w, g)\n"
    )
    path, change = known.sources[0].file, ("end", "<module>", "w")
    site = Site("change", path, 4, "w -= 0.1 * g", "<module>", additive=True)
    record = IterationRecord(1, 1, start_identities={change: 7}, changes={7: (site,)})
    roles = Roles(loss=None, loss_confidence="unsure", parameters=(ParameterRole("w", change),))
    suspicion = Suspicion(known, roles, record, Site("loop", path, 3, "for x in train:", "<module>"))
    assert [one.line for one in suspicion.lines(alarm_of("RNN701"))] == [2]


@pytest.mark.parametrize(
    ("source", "targets", "lines"),
    [
        ("for a in range(9):\n    x = text[a:a + 5]\n    y = text[a:a + 5]", ("end", "<module>", "y"), [3, 1]),
        (
            "def make(n):\n    return tokens, rng.permutation(tokens)\ndata = make(5)\nfor x, y in data:\n    pass",
            ("end", "<module>", "y"),
            [4, 2, 3],
        ),
        (
            "def learn(x, ts):\n    return 0\ny = np.roll(x, 3)\nfor a in b:\n    loss = learn(x[a:], y[a:])",
            ("local", "learn", "ts"),
            [5, 3, 2],
        ),
        ("Y = load()\nfor a in b:\n    G = net.backward(Y[a:a+5])", ("end", "<module>", "Y[a:a + 5]"), [3, 1, 2]),
    ],
)
def test_data_comes_from_what_mixes_or_shifts_it(statements, source, targets, lines):
    roles = Roles(loss=None, loss_confidence="unsure", targets=targets)
    loop = Site("loop", "", 0, "", "<module>")
    suspicion = Suspicion(statements(source), roles, IterationRecord(1, 1), loop)
    assert [one.line for one in suspicion.lines(alarm_of("RNN603"))][:3] == lines


def test_what_a_call_returns_comes_before_what_its_arguments_return(statements):
    known = statements("def forward(x):\n    return x\ndef nll(p):\n    return -p\nloss = nll(forward(x))\n")
    (calling,) = known.of("loss")
    assert [one.line for one in known.returned_by(calling)] == [4, 2]


def test_a_wrong_loss_function_may_be_a_wrong_output(statements):
    known = statements(
        "def forward(x):\n    return np.exp(x)\ndef nll(p, y):\n    return -p[y]\np = forward(x)\nloss = nll(p, y)\n"
    )
    roles, loop = (
        Roles(loss=("end", "<module>", "loss"), loss_confidence="certain"),
        Site("loop", "", 0, "", "<module>"),
    )
    suspicion = Suspicion(known, roles, IterationRecord(1, 1), loop)
    assert [one.line for one in suspicion.lines(alarm_of("RNN302"))] == [6, 4, 2]
    assert [one.line for one in suspicion.lines(alarm_of("RNN301"))] == [6, 4]


CELLS = """
def step_back(dh, cache):
    x, h, new = cache
    dz = dh * (1 - h * h)
    return dz @ U.T, x.T @ dz, h.T @ dz
def back(dhs, caches):
    N, T, H = dhs.shape
    dW, dU, carried = np.zeros((D, H)), np.zeros((H, H)), np.zeros((N, H))
    for t in range(T - 1, -1, -1):
        carried, dw, du = step_back(dhs[:, t] + carried, caches[t])
        dW += dw
        dU += du
    return dW, dU
for x in data:
    loss, dV, v = 1.0, 2.0, 0.0
    dW, dU = back(x, x)
    v = 0.9 * v + dU
    U += v
"""


def gradients_of(names, signs):
    return tuple(
        ParameterRole(name, ("end", "__main__", name), ("local", "back", f"d{name}"), scale=sign)
        for name, sign in zip(names, signs, strict=True)
    )


@pytest.mark.parametrize(
    ("array", "message", "signs", "lines"),
    [
        ("W", "also wrong as well: 'U'; right: 'V'", (1, 1, 1), [11, 10, 5, 4]),  # the step that both come from
        ("U", "right: 'W', 'V'", (1, 1, 1), [12, 5, 10, 9]),  # the step gives the right ones too: what it returns
        ("U", "right: 'W', 'V'", (1, -1, 1), [17, 5, 12, 10]),  # the update along one of them
    ],
)
def test_a_wrong_gradient_comes_from_a_function_that_is_called(statements, array, message, signs, lines):
    known = statements(CELLS)
    loop = Site("loop", known.sources[0].file, 14, "for x in data:", "<module>")
    roles = Roles(
        loss=None, loss_confidence="certain", parameters=gradients_of("WUV", signs), optimizer_state=(("end", "", "v"),)
    )
    alarm = attrs.evolve(alarm_of("RNN404", array=array), message=message)
    found = Suspicion(known, roles, IterationRecord(1, 1), loop).lines(alarm)
    assert [one.line for one in found] == lines


def test_an_update_of_the_items_of_a_list_goes_up_in_its_loop(statements):
    source = """
for x in data:
    loss, dw, db = backward(x)
    for w, d in zip(weights, dw):
        w += 0.1 * d
    for b, d in zip(biases, db):
        b -= 0.1 * d
dw[0] = 0.0
"""
    known = statements(source)
    parameters = tuple(
        ParameterRole(f"{name}[0]", ("end", "__main__", f"{name}[0]"), ("end", "__main__", f"{grad}[0]"), scale=sign)
        for name, grad, sign in (("weights", "dw", -1.0), ("biases", "db", 1.0))
    )
    loop = Site("loop", known.sources[0].file, 2, "for x in data:", "<module>")
    alarm = attrs.evolve(alarm_of("RNN404", array="weights[0]"), message="right: 'biases[0]'")
    roles = Roles(loss=None, loss_confidence="certain", parameters=parameters)
    found = Suspicion(known, roles, IterationRecord(1, 1), loop).lines(alarm)
    assert [one.line for one in found][:2] == [5, 3]  # line 8 runs after the loop


def test_what_is_printed_is_returned_by_a_function(statements):
    function = "def run(data):\n    return np.sum(data) / 12\n"
    known = statements(f"{function}for epoch in data:\n    mean = run(data)\n    print(epoch, mean)\n    print(mean)\n")
    loop = Site("loop", known.sources[0].file, 3, "for epoch in data:", "<module>")
    suspicion = Suspicion(known, Roles(loss=None, loss_confidence="certain"), IterationRecord(1, 1), loop)
    suspicion.reports = {"train": ("shown", "script.py:5", "mean")}
    assert [one.line for one in suspicion.lines(alarm_of("RNN101"))] == [5, 2, 4]


FLAT = """
W = np.random.randn(3, 3)
V = np.random.randn(3, 3)
for x, y in data:
    dW, dV = gradients(x, y)
    V = V - 0.1 * dV
"""


@pytest.mark.parametrize(
    ("alarm", "lines"),
    [(alarm_of("RNN503", array="W"), [6, 5, 4]), (alarm_of("RNN503"), [6, 4]), (alarm_of("RNN303"), [3, 2])],
    ids=["an array that does not change", "no array that changes", "large initial weights"],
)
def test_lines_of_parameters_and_their_updates(statements, alarm, lines):
    known = statements(FLAT)
    loop = Site("loop", known.sources[0].file, 4, "for x, y in data:", "<module>")
    keys = {name: ("end", "__main__", name) for name in ("W", "V", "dW", "dV")}
    parameters = tuple(ParameterRole(name, keys[name], keys["d" + name]) for name in "WV")
    roles = Roles(loss=None, loss_confidence="certain", parameters=parameters)
    found = Suspicion(known, roles, IterationRecord(1, 1), loop).lines(alarm)
    assert [one.line for one in found] == lines


ZERO = """
def blame(steps):
    db = [0.0, 0.0]
    dw = [np.zeros(3), np.zeros(3)]
    dw[0] += steps
    db[0] += steps.sum()
    return dw, db
for steps in data:
    dw, db = blame(steps)
    w = [a - 0.1 * b for a, b in zip(w, dw)]
"""
CLIPPED = """
class Batch(NamedTuple):
    tokens: np.ndarray
    labels: np.ndarray
def draw(generator):
    return Batch(generator.integers(9), generator.permutation(9))
for step in range(9):
    batch = draw(generator)
    grads = gradients(batch)
    grads = clipped(grads, 1e-6)
    w = w - grads
"""


@pytest.mark.parametrize(
    ("source", "alarm", "names", "lines"),
    [
        (
            ZERO,
            attrs.evolve(alarm_of("RNN404", array="w"), message="it is zero; right: 'b'"),
            "w b dw[1] db[0]",
            [9, 4],
        ),
        (CLIPPED, alarm_of("RNN502"), "w b grads g", [11, 10]),
        (CLIPPED, alarm_of("RNN603"), "w b grads g", [8, 6]),
    ],
    ids=["a gradient that stays zero", "a gradient that is clipped", "labels of another draw"],
)
def test_first_lines_of_an_alarm(statements, source, alarm, names, lines):
    known = statements(source)
    number = next(one.line for one in known.all if one.scope == "<module>" and one.source.startswith("for "))
    loop = Site("loop", known.sources[0].file, number, "for", "<module>")
    keys = [("end", "__main__", name) for name in names.split()]
    parameters = tuple(ParameterRole(one[2], one, gradient) for one, gradient in zip(keys[:2], keys[2:], strict=True))
    targets = ("end", "__main__", "batch.labels")
    roles = Roles(loss=None, loss_confidence="certain", parameters=parameters, targets=targets)
    found = Suspicion(known, roles, IterationRecord(1, 1), loop).lines(alarm)
    assert [one.line for one in found][:2] == lines


GATES = """
def backward(p, memo):
    d = {k: np.zeros_like(v) for k, v in p.items()}
    for h, z, n in reversed(memo):
        dz = dh * (h - n) * z * (1 - z)
        dn = dh * (1 - z) * (1 - n * n)
        for gate, da in (("z", dz), ("n", dn)):
            d["W" + gate] += da @ x.T
        dh = dh * z + p["Rz"].T @ dz
    return d
for xs in data:
    d = backward(p, xs)
    for k in p:
        g = np.clip(d[k], -1, 1)
        p[k] = p[k] - 0.1 * g
"""


def test_a_loop_through_a_literal_assigns_each_gradient_from_its_own_item(statements):
    known = statements(GATES)
    update, candidate = ([one for one in known.all if one.assigns_item(f"d['W{gate}']")] for gate in "zn")
    assert [(one.line, "dz" in one.reads) for one in (*update, *candidate)] == [(8, True), (8, False)]
    # Through dh, each gradient depends on all statements: the ones nearer to the wrong gradient are behind it.
    assert [one.line for one in nearer_to_wrong(known.all, [update], [candidate])] == [5]


def test_a_clipped_copy_comes_from_the_statements_that_add_to_its_original(statements):
    known = statements(GATES)
    site = Site("change", known.sources[0].file, 8, known.sources[0].lines[7].strip(), "backward", additive=True)
    copy, original, velocity = (("end", "<module>", name) for name in ("g", "d['Wz']", "v"))
    record = IterationRecord(1, 1, identities={copy: 1, original: 2, velocity: 3}, changes={3: (), 2: (site,)})
    record.end = {velocity: np.arange(4.0), original: np.arange(4.0), copy: np.arange(4.0).clip(0, 2)}
    loop = Site("loop", known.sources[0].file, 11, "for xs in data:", "<module>")
    role = ParameterRole("p['Wz']", ("end", "<module>", "p['Wz']"), copy)
    roles = Roles(loss=None, loss_confidence="certain", parameters=(role,), optimizer_state=(velocity,))
    assert [one.line for one in Suspicion(known, roles, record, loop).lines(alarm_of("RNN406"))][:2] == [8, 3]


def test_a_bias_after_its_first_update_is_not_the_original_of_its_gradient():
    bias, gradient = ("end", "f", "b"), ("end", "f", "db")
    site = Site("change", "script.py", 1, "b -= 0.1 * db", "f", additive=True)
    record = IterationRecord(1, 1, identities={bias: 1, gradient: 2}, changes={1: (site,)})
    record.end = {bias: -0.1 * np.arange(3.0), gradient: np.arange(3.0)}
    assert record.sites_of(gradient, [], [bias]) == ()


def test_a_frozen_layer_comes_from_the_loop_in_which_the_updates_are_called(statements):
    known = statements(
        "def step(w):\n    w -= 0.1\ndef fit(net):\n    for w in net[1:]:\n        step(w)\n"
        "for x in data:\n    fit(net)\n    step(v)\n"
    )
    file = known.sources[0].file
    loop = Site("loop", file, 6, "for x in data:", "<module>")
    assert [one.line for one in loops_of_calls(known, [(file, 2)], loop)] == [4]


def test_a_mean_loss_comes_from_what_adds_to_its_sum(statements):
    known = statements("def learn(x):\n    s = 0.0\n    for t in x:\n        s -= p[t]\n    return s / len(x)\n")
    returned = [one.shown("") for one in known.all if one.line == 5]
    assert [one.line for one in sums_read_by(known.all, returned)] == [4]


def test_targets_that_a_function_passes_on_come_from_its_outermost_call(statements):
    known = statements(
        "def mse(p, y):\n    return p - y\ndef learn(x, y):\n    return mse(x, y)\nX, y = load()\n"
        "for a in b:\n    loss = learn(X[a], y[::-1])\n"
    )
    assert [one.line for one in calls_with_argument(known.all, "mse", "y")] == [7, 4]
