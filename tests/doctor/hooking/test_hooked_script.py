"""Hooked scripts of every shape: each is written, and run by the doctor, which compares the gradient with the loss."""

import json
import shutil
import time
from pathlib import Path

import pytest

from rnncallbacks.doctor.hooking.hook_place import ProbedScript
from rnncallbacks.doctor.hooking.hooked_loop import HookedLoop, HookedParameter
from rnncallbacks.doctor.hooking.hooked_script import hooked_script
from rnncallbacks.doctor.script_source import read_script
from rnncallbacks.errors import DataError

pytestmark = pytest.mark.usefixtures("forked_modules")

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "doctor_scripts"
EXAMPLES = Path(__file__).parents[3] / "examples"


def same(names, gradient="d{}", before="{}", expression=None, scale=1.0):
    """Parameters whose expressions follow one pattern."""
    inside = expression or before
    return tuple(
        HookedParameter(name, before.format(name), inside.format(name), gradient.format(name), scale) for name in names
    )


NESTED = [("lstm", "W"), ("lstm", "b"), ("readout", "W"), ("readout", "b")]
# Script: the line of the loop, the loss, the parameters, and the line of the function in which they are known.
SHAPES = {
    "binadd.py": (
        "for j in range(5000):",
        "overallError",
        same(["synapse_0", "synapse_1", "synapse_h"], "{}_update", scale=-1.0),
        None,
    ),
    "brackets.py": (
        "        for k in range(0, corpus.shape[1], batch_size):",
        "losses[-1]",
        same(range(5), "grads[{}]", "params[{}]"),
        None,
    ),
    "copying.py": (
        "    for step in range(700):",
        "value",
        tuple(
            HookedParameter(f"{a}.{b}", f"params['{a}']['{b}']", f"params['{a}']['{b}']", f"grads['{a}']['{b}']")
            for a, b in NESTED
        ),
        None,
    ),
    "gatekeeper.py": ("for it in range(3001):", "loss", same(range(10), "grads[{}]", "params[{}]"), None),
    "hornbeam.py": ("    while True:", "l", same("UWVbc"), None),
    "lapwing.py": (
        "        while True:",
        "loss",
        tuple(
            HookedParameter(f"{a}.{b}", f"self.{a}['{b}']", f"self.{a}['{b}']", f"grads['{a}', '{b}']")
            for a, b in [("W", "z"), ("U", "h"), ("b", "y")]
        ),
        None,
    ),
    "majority.py": (
        "    for i in range(1, 401):",
        "history['loss'][-1]",
        same("WUb", "gru.d{}", "gru.{}") + same("wc", "linear.d{}", "linear.{}"),
        None,
    ),
    "parityfit.py": (
        "            for start in range(0, len(X), self.batch_size):",
        "self._loss(Y, tb)",
        same(["W_xh", "W_hh", "b_h", "W_hy", "b_y"], "grads['{}']", "self.params['{}']"),
        None,
    ),
    "selftaught.py": (
        "  for x, y in items:",
        "-np.log(probs[target])",
        same(["Wax", "Waa", "Wya", "ba", "by"], "d_{}", "rnn.{}", "self.{}"),
        "  def backward(self, d_y):",
    ),
    "thermostat.py": (
        "    while k < 500:",
        "mse",
        same(["update']['x", "new']['h", "out']['b"], "gradients['{}']", "p['{}']"),
        None,
    ),
    "tinylists.py": (
        "for step in range(1500):",
        "loss",
        tuple(
            HookedParameter(w, w, w, g)
            for w, g in zip(("wx", "wh", "bias", "wo", "bo"), ("gwx", "gwh", "gb", "gwo", "gbo"), strict=True)
        ),
        None,
    ),
    "two_waves.ipynb": (
        "for iteration in range(1000):",
        "error",
        same(["W_in", "W_rec", "b_rec", "W_out", "b_out"], "g{}"),
        None,
    ),
    "untilgood.py": ("while J > .02 and it < 20000:", "j", same(range(5), "G[{}]", "W[{}]"), None),
    "willow.py": (
        "while True:",
        "loss",
        same(["Wxh", "Whh", "Why", "bh", "by"]),
        "def lossFun(inputs, targets, hprev):",
    ),
}


def line_of(source, text):
    return next(number for number, line in enumerate(source.text.splitlines(), 1) if line == text)


@pytest.fixture
def diagnose(tmp_path, monkeypatch, run_python):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def run(path, batches):
        command = "from rnncallbacks.cli import main; main()"
        done = run_python(command, "doctor", "--given-only", "--json", "--batches", str(batches), str(path))
        assert done.stdout, done.stderr
        return json.loads(done.stdout), done.stderr

    return run


@pytest.mark.parametrize("name", SHAPES)
def test_a_script_of_every_shape(tmp_path, diagnose, name):
    for file in (name, "river.txt"):
        shutil.copy(SCRIPTS / file, tmp_path / file)
    source = read_script(tmp_path / name)
    text, loss, parameters, block = SHAPES[name]
    loop = HookedLoop(
        source=source,
        line=line_of(source, text),
        loss=loss,
        parameters=parameters,
        block=None if block is None else line_of(source, block),
        loss_in_loop=name == "selftaught.py",
        learning_rate=0.1,
    )
    written = hooked_script(loop)
    (tmp_path / "hooked.py").write_text(written)
    document, stderr = diagnose("hooked.py", 12)
    (run,) = document["runs"]
    assert run["batches"] == 12, stderr
    fired = {alarm["code"] for alarm in run["alarms"] if alarm["severity"] != "info"}
    assert fired == ({"RNN404"} if name == "binadd.py" else set())  # it reports another number than it descends
    if name == "tinylists.py":  # its parameters are lists: the run sees copies
        assert "RNN404" in run["not_checked"]
    elif name != "binadd.py":
        assert "RNN404" in run["passed"]
    assert "RNN503" in run["passed"]


def test_the_hooked_script_gets_the_diagnosis_of_the_script_that_is_wrapped_by_hand(tmp_path, diagnose):
    shutil.copy(EXAMPLES / "broken_loop.py", tmp_path / "loop.py")
    source = read_script(tmp_path / "loop.py")
    loop = HookedLoop(
        source=source,
        line=line_of(source, "        for inputs, targets in train_loader:"),
        loss="loss",
        parameters=same(range(5), "grads[{}]", "params[{}]"),
        observed={"inputs": "x", "targets": "y", "hidden_states": "hiddens"},
        learning_rate=0.5,
    )
    (tmp_path / "hooked.py").write_text(hooked_script(loop))
    hooked, _ = diagnose("hooked.py", 24)
    by_hand, _ = diagnose(EXAMPLES / "diagnosed_loop.py", 24)
    codes = [
        {alarm["code"] for alarm in document["runs"][0]["alarms"] if alarm["explained_by"] is None}
        for document in (hooked, by_hand)
    ]
    # The script's own epoch loss is not among the roles.
    assert codes[0] == codes[1] - {"RNN101", "RNN102"}
    assert {"RNN201", "RNN301"} <= codes[0]


FAILURES = {
    "expected a for or while loop": ("x = 1\n", 1),
    "was not run": ("def f():\n    for i in range(3):\n        x = i\n", 2),
    "did not reach its loop": ("raise ValueError('no data')\nfor i in range(3):\n    loss = i\n", 2),
    "the gradients cannot be read": ("w = 1.0\nfor i in range(3):\n    loss = float(i)\n    w -= 1\n", 2),
    "the parameters are updated here": (
        "w = 1.0\nfor i in range(3):\n    dw = i + 1.0\n    w -= dw\n    loss = w * 2\n",
        2,
    ),
}


@pytest.mark.parametrize("message", FAILURES)
def test_a_loop_without_a_place(tmp_path, message):
    text, line = FAILURES[message]
    (tmp_path / "script.py").write_text(text)
    loop = HookedLoop(source=read_script(tmp_path / "script.py"), line=line, loss="loss", parameters=same(["w"]))
    with pytest.raises(DataError, match=message):
        hooked_script(loop)


def test_a_loop_that_takes_too_long(tmp_path):
    (tmp_path / "script.py").write_text("import time\nfor i in range(3):\n    time.sleep(60)\n")
    loop = HookedLoop(source=read_script(tmp_path / "script.py"), line=2, loss="loss", parameters=same(["w"]))
    with pytest.raises(DataError, match="took more than the 1 s that were left"):
        hooked_script(loop, ProbedScript(until=time.monotonic() + 1.0))


TEXT = """\
def learn(data):
    '''Learns.'''
    global w
    text = '''
not moved
'''
    run = 1
    for epoch in range(3):
        for x in (
            data[1:]
        ):
            dw = 2 * (w - x)
            loss = ((w - x) ** 2).sum()
            report = '''
  not moved'''
            w = w - 0.1 * dw

import numpy as np
w = np.ones(2)
learn([np.zeros(2), np.ones(2), np.zeros(2)])
"""


def test_texts_names_and_statements_over_several_lines(tmp_path, diagnose):
    (tmp_path / "script.py").write_text(TEXT)
    source = read_script(tmp_path / "script.py")
    loop = HookedLoop(source=source, line=9, loss="loss", parameters=same(["w"]))
    written = hooked_script(loop)
    assert "\nnot moved\n" in written
    assert "\n  not moved'''\n" in written
    assert "as run_:" in written
    (tmp_path / "hooked.py").write_text(written)
    document, stderr = diagnose("hooked.py", 10)
    assert document["error"] is None, stderr
    assert document["runs"][0]["batches"] == 6


WITHIN = """\
import numpy as np
w, t = np.ones(2), None
for epoch in range(4):
    with np.errstate(over="raise"):
        try:
            dw = 2 * w
            loss = (w**2).sum()
            w -= 0.1 * dw
        except FloatingPointError:
            break
"""


def test_the_hooks_are_in_the_statement_that_encloses_the_update(tmp_path):
    (tmp_path / "script.py").write_text(WITHIN)
    loop = HookedLoop(source=read_script(tmp_path / "script.py"), line=3, loss="loss", parameters=same(["w"]))
    written = hooked_script(loop)
    inside = written[written.index("try:") : written.index("except FloatingPointError:")]
    assert inside.index("loss = (w**2).sum()") < inside.index("run.backward(loss") < inside.index("w -= 0.1 * dw")


SHADOWED = """\
import numpy as np
w, t = np.ones(2), None
def step():
    loss = 0.0
    for t in range(2):
        loss += ((w - t) ** 2).sum()
    dw = 4 * w - 2
    return loss, dw
for epoch in range(4):
    loss, dw = step()
    w -= 0.1 * dw
"""


def test_a_global_variable_with_the_name_of_a_local_one_is_no_argument_of_the_loss(tmp_path):
    (tmp_path / "script.py").write_text(SHADOWED)
    source = read_script(tmp_path / "script.py")
    written = hooked_script(HookedLoop(source=source, line=9, block=3, loss="loss", parameters=same(["w"])))
    assert "def loss_again():" in written
