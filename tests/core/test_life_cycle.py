"""The stages of a run, and what the error says in each."""

import pytest

from rnncallbacks.core.life_cycle import LifeCycle
from rnncallbacks.errors import RunStateError


@pytest.mark.parametrize("stage", ["new", "entered", "fitting", "ended"])
def test_an_allowed_stage_passes(stage):
    LifeCycle(stage).require("new", "entered", "fitting", "ended", doing="anything")


@pytest.mark.parametrize(
    ("stage", "allowed", "message"),
    [
        ("new", ("fitting",), r"cannot call run.log: the run was not entered\n.*with Run"),
        ("entered", ("fitting",), r"cannot call run.log: no epoch is open\n.*for epoch in run.epochs"),
        ("entered", ("new",), r"cannot call run.log: the run was entered already\n.*make a new Run"),
        ("fitting", ("new",), r"cannot call run.log: the run was entered already\n.*make a new Run"),
        ("ended", ("new", "fitting"), r"cannot call run.log: the run has ended\n.*make a new Run"),
    ],
)
def test_another_stage_is_refused_with_the_reason(stage, allowed, message):
    with pytest.raises(RunStateError, match=message):
        LifeCycle(stage).require(*allowed, doing="call run.log")
