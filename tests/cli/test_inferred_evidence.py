"""What the doctor finds out by itself about a script that has a Run."""

import json
from pathlib import Path

from rnncallbacks.alarms.diagnosis import Diagnosis
from rnncallbacks.cli.inferred_evidence import take_over

# A network of an own kind, so that no guard recognizes it; its gradient of "u" is half of what it should be. After the
# run, the script trains a linear model without one; its gradient of "a" is twice too long.
SCRIPT = """
import numpy as np
from rnncallbacks import Run

rng = np.random.default_rng(5)
params = {"u": rng.normal(0, 0.5, (6, 3)), "w": rng.normal(0, 0.5, (6, 6)), "v": rng.normal(0, 0.5, 6)}


def losses_and_gradients(x, y):
    hs = [np.zeros(6)]
    for step in x:
        hs.append(np.sin(params["u"] @ step + params["w"] @ hs[-1]) + 0.1 * hs[-1])
    error = params["v"] @ hs[-1] - y
    grads = {name: np.zeros_like(array) for name, array in params.items()}
    grads["v"] = 2 * error * hs[-1]
    back = 2 * error * params["v"]
    for t in reversed(range(len(x))):
        inner = back * np.cos(params["u"] @ x[t] + params["w"] @ hs[t])
        grads["u"] += 0.5 * np.outer(inner, x[t])
        grads["w"] += np.outer(inner, hs[t])
        back = params["w"].T @ inner + 0.1 * back
    return float(error**2), grads


with Run(params, learning_rate=0.05) as run:
    for epoch in run.epochs(1):
        for n in run.batches(range(12)):
            x = rng.normal(size=(5, 3))
            loss, grads = losses_and_gradients(x, x.sum())
            run.backward(loss, grads)
            for name in params:
                params[name] -= 0.05 * grads[name]

a, b = rng.normal(size=3), rng.normal(size=2)
while True:
    p, q = rng.normal(size=3), rng.normal(size=2)
    error = a @ p + b @ q - p.sum()
    cost = float(error**2)
    da, db = 4 * error * p, 2 * error * q
    a -= 0.02 * da
    b -= 0.02 * db
"""


def test_missing_evidence_is_inferred_and_a_loop_without_a_run_is_examined(run_command):
    script = SCRIPT.replace("while True:", "for _ in range(500):")
    Path("train.py").write_text(script)
    done = run_command("doctor", "--batches", "12", "--json", "train.py")
    document = json.loads(done.stdout)
    (run,) = document["runs"]
    assert "RNN404" in run["inferred"]["decided"]
    assert "hidden states losses_and_gradients():hs" in run["inferred"]["evidence"]
    (alarm,) = [alarm for alarm in run["alarms"] if alarm["code"] == "RNN404"]
    assert "'u'" in alarm["message"]
    own = document["own_loop"]
    assert own["loop"]["source"] == "for _ in range(500):"
    assert set(own["roles"]["parameters"]) == {"a", "b"}
    assert "RNN503" in own["diagnosis"]["passed"]
    assert done.returncode == 1


def test_what_a_run_decided_stays():
    given, inferred = Diagnosis(), Diagnosis()
    given.check("RNN201", "given")
    given.cannot_check("RNN404", "pass closure=")
    given.report_cannot_tell("RNN405", "too noisy")
    given.cannot_check("RNN603", "show the tokens")
    inferred.check("RNN201", "inferred")
    inferred.check("RNN404", "of 2 batches")
    inferred.check("RNN405", "of 2 batches")
    inferred.report_cannot_tell("RNN603", "too few")
    assert set(take_over(given, inferred)) == {"RNN404", "RNN405"}
    assert given.passed == {"RNN201": "given", "RNN404": "of 2 batches", "RNN405": "of 2 batches"}
    assert given.cannot_tell == {"RNN603": "too few"}
