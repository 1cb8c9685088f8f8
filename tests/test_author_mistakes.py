"""What authors of plugins are told of their mistakes: the table of the documentation, each row of it provoked."""

import re
import threading
from pathlib import Path

import attrs
import numpy as np
import pytest

from rnncallbacks import Run, hookimpl, load_plugins
from rnncallbacks.bases import Guard, state_field
from rnncallbacks.core.hookspecs import HOOKS_VERSION
from rnncallbacks.errors import one_line
from rnncallbacks.plugins import GradientClipping
from rnncallbacks.testing import PluginCheckError, check_plugin, play

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "avoid-mistakes.md"


def plugin(**attributes):
    """An object of a class Mine with these attributes."""
    return type("Mine", (), attributes)()


class InAttributes:
    def __init__(self):
        self.best = float("inf")

    @hookimpl
    def on_fit_start(self):
        self.best = float("inf")

    @hookimpl
    def on_epoch_end(self, run):
        self.best = min(self.best, run.step)


class InTheClass:
    seen: list[int] = []  # noqa: RUF012  (the mistake)

    @hookimpl
    def on_epoch_end(self, run):
        self.seen.append(run.step)
        run.log(seen=len(self.seen))


@attrs.define(eq=False)
class Unsavable:
    lock: object = state_field(factory=threading.Lock)

    @hookimpl
    def on_batch_end(self): ...


@attrs.define(eq=False)
class WithoutValidator:
    every: int = 10

    @hookimpl
    def on_batch_end(self, run):
        run.step % self.every


class DecaysParameters:
    @hookimpl
    def on_backward(self, run):
        run.params["w"] *= 0.99


class ConcludesNothing(Guard):
    @hookimpl
    def on_epoch_end(self, run):
        self.conclude(run, None)


class WritesHere:
    @hookimpl
    def on_fit_end(self):
        Path("rows.csv").write_text("")


class Unregistered(Guard):
    @hookimpl
    def on_epoch_end(self, run):
        run.raise_alarm("MINE1", "something is wrong")


@attrs.define
class Equal:
    @hookimpl
    def on_epoch_end(self): ...


async def on_epoch_end_async(self): ...


def on_epoch_end_yields(self):
    yield


def registered(made):
    return lambda install: Run(plugins=[made()])


def played(made):
    return lambda install: play([made()], losses=[1.0])


def tried(make, check):
    return lambda install: check_plugin(make, only=[check])


def installed(value, name="mine", **sources):
    def act(install):
        install("mine", {name: value}, **sources)
        load_plugins({"plugins": {name: {}}})

    return act


def claimed_twice(install):
    install("one", {"mine": "one:Mine"}, folder="one")
    install("two", {"mine": "two:Mine"}, folder="two")
    load_plugins({"plugins": {"mine": {}}})


MISTAKES = {
    "a hook is misspelled": registered(lambda: plugin(on_bacward=hookimpl(lambda self, grads: None))),
    "`@hookimpl` is missing": registered(lambda: plugin(on_backward=lambda self, grads: None)),
    "the class is passed, not an object": registered(lambda: GradientClipping),
    "the name is passed, not an object": registered(lambda: "gradient_clipping"),
    "a function is passed": registered(lambda: np.sum),
    "no hook is implemented": registered(lambda: plugin(epoch_end=lambda self: None)),
    "an argument is not the hook's": registered(lambda: plugin(on_backward=hookimpl(lambda self, gradients: None))),
    "`self` is missing": registered(lambda: plugin(on_epoch_end=hookimpl(lambda run: None))),
    "an argument has a default": registered(lambda: plugin(on_epoch_end=hookimpl(lambda self, run=None: None))),
    "a hook is `async`": registered(lambda: plugin(on_epoch_end=hookimpl(on_epoch_end_async))),
    "a hook has a `yield` and is no wrapper": registered(lambda: plugin(on_epoch_end=hookimpl(on_epoch_end_yields))),
    "the hook is an argument of `@hookimpl`": registered(lambda: hookimpl("on_epoch_end")),
    "`eq=False` is missing in `@attrs.define`": registered(Equal),
    "the plugin needs a newer library": registered(
        lambda: plugin(requires_hooks=HOOKS_VERSION + 1, on_epoch_end=hookimpl(lambda self: None))
    ),
    "two plugins have one name": lambda install: Run(plugins=[GradientClipping(), GradientClipping()]),
    "gradients are returned": played(lambda: plugin(on_backward=hookimpl(lambda self, grads: {"w": grads["w"] / 2}))),
    "an array is logged": played(lambda: plugin(on_epoch_end=hookimpl(lambda self, run: run.log(mine=np.ones(2))))),
    "a column is logged outside of an epoch": played(
        lambda: plugin(on_fit_start=hookimpl(lambda self, run: run.log(mine=1)))
    ),
    "an alarm's code is not registered": played(Unregistered),
    "a detector returns nothing": played(ConcludesNothing),
    "the codes of a guard are no tuple": lambda install: type("Mine", (Guard,), {"codes": ("MINE1")}),
    "all objects share the default of a state field": lambda install: state_field([]),
    "the entry point names no module": installed("mine_plugins:Mine"),
    "the entry point names no class": installed("mine_wrong:Mine", mine_wrong="Mine = 3"),
    "the plugin's name is that of another package": claimed_twice,
    "state is in plain attributes": tried(InAttributes, "resuming"),
    "state is in the class": tried(InTheClass, "runs"),
    "state cannot be saved": tried(Unsavable, "resuming"),
    "an option has no validator": tried(WithoutValidator, "options"),
    "parameters change in another hook": tried(DecaysParameters, "order"),
    "a file is written into the working directory": tried(WritesHere, "files"),
}


def told(act, install) -> str:
    """The first error of a mistake, in one line."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  (of several classes; the text is what is compared)
        act(install)
    error = caught.value
    return str(error).splitlines()[0] if isinstance(error, PluginCheckError) else one_line(error)


def rows() -> dict[str, str]:
    found = re.findall(r"^\| ([^|]+) \| `+ ?(.+?) ?`+ \|$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return dict(found)


def test_every_mistake_is_in_the_table():
    assert list(rows()) == list(MISTAKES)
    assert len(MISTAKES) >= 20


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_table_says_what_is_told(mistake, install):
    text = told(MISTAKES[mistake], install)
    assert len(text) < 400
    assert text == rows()[mistake]
