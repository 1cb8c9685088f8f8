"""The gradient is found before it is clipped or scaled, however the script spells that."""

from types import SimpleNamespace

import numpy as np
import pytest

from rnncallbacks.doctor import instrument
from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.instrument import Sites
from rnncallbacks.doctor.roles.gradient_sources import candidates_of
from rnncallbacks.doctor.script_process import hooks
from rnncallbacks.doctor.watch_messages import Command
from rnncallbacks.doctor.watching import LoopWatch

SCRIPT = """
def backward(wrong):
    grads = {"W": np.arange(1.0, 7.0).reshape(2, 3) * wrong, "b": np.array([8.0, -9.0, 0.5]) * wrong}
    %s
    return grads

def train(wrong):
    params = {"W": np.ones((2, 3)), "b": np.ones(3)}
    velocity = {"W": np.zeros((2, 3)), "b": np.zeros(3)}
    for step in range(1):
        grads = backward(wrong)
        velocity = {k: 0.9 * v + grads[k] for k, v in velocity.items()}
        for name in params:
            params[name] -= 0.1 * velocity[name]
"""
SPELLINGS = {
    "a dict comprehension": "grads = {k: g / 9 for k, g in grads.items()}",
    "a dict that updates itself": "grads.update({k: g / 9 for k, g in grads.items()})",
    "a list comprehension": "names, grads = list(grads), list(grads.values()); grads = [g / 9 for g in grads];"
    " grads = dict(zip(names, grads))",
    "items of a list": "names, grads = list(grads), list(grads.values());"
    " grads[:] = [np.clip(g, -5, 5) for g in grads]; grads = dict(zip(names, grads))",
    "a tuple of an attribute": "own.grads = tuple(grads.values()); own.grads = tuple(g / 9 for g in own.grads);"
    " grads = dict(zip(grads, own.grads))",
    "a pair": "dW, db = grads.values(); dW, db = dW / 9, db / 9; grads = dict(W=dW, b=db)",
    "a pair from a comprehension": "dW, db = grads.values(); dW, db = [np.clip(g, -5, 5) for g in (dW, db)];"
    " grads = dict(W=dW, b=db)",
    "items": "grads['W'], grads['b'] = grads['W'] / 9, grads['b'] / 9",
    "a map": "grads = dict(zip(grads, map(lambda g: g / 9, grads.values())))",
    "in place": "for g in grads.values(): g *= 1 / 9",
    "as it is": "pass",
}


class Link:
    """The doctor's end of a link: it asks for everything, and keeps the record."""

    record = None

    def recv(self):
        return Command()

    def send(self, message):
        self.record = message[1]


def record_of(source, *arguments):
    """The record of the one iteration of ``train``."""
    sites, link = Sites(), Link()
    code = instrument.instrument(source, "script.py", sites)
    line = next(site.line for site in sites.known if site.source == "for step in range(1):")
    watch = LoopWatch(sites, OwnModules({"script"}), ("script.py", line), link, [], None)

    names = {"__name__": "script", "np": np, "own": SimpleNamespace()}
    with hooks(watch):
        exec(code, names)
        names["train"](*arguments)
    return link.record


@pytest.mark.parametrize("wrong", [1.0, np.array([1.0, -1.0, 2.0])], ids=["right", "wrong"])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_gradient_is_the_one_before_it_was_scaled(spelling, wrong):
    record = record_of(SCRIPT % spelling.replace("; ", "\n    "), wrong)
    raw = {"W": np.arange(1.0, 7.0).reshape(2, 3) * wrong, "b": np.array([8.0, -9.0, 0.5]) * wrong}
    for name, gradient in raw.items():
        parameter = ("end", "train", f"params['{name}']")
        keepers = {("end", "train", f"{kind}[{one!r}]") for kind in ("params", "velocity") for one in raw}
        found = candidates_of(parameter, keepers, [record])
        assert "velocity" not in found[0].key[2]
        assert any(np.array_equal(record.get(one.key), gradient) for one in found)
