"""What a script names in rng= and state=: what is taken, and that a refused state changes nothing."""

import numpy as np
import pytest

from rnncallbacks.core.script_state import ScriptState
from rnncallbacks.errors import CheckpointError, OptionError


def test_everything_that_is_named_comes_back():
    rngs = {"data": np.random.default_rng(1), "noise": [np.random.default_rng(2)]}
    arrays = [np.zeros(2), {"deep": (np.ones(1),)}]
    script = ScriptState(rngs, arrays)
    saved = script.capture()
    assert list(saved) == ["rng['data']", "rng['noise'][0]", "state[0]", "state[1]['deep'][0]"]
    drawn = rngs["noise"][0].random()
    arrays[1]["deep"][0][...] = 5.0
    script.restore(saved)
    assert (rngs["noise"][0].random(), arrays[1]["deep"][0].item()) == (drawn, 1.0)


def test_a_state_that_one_object_refuses_changes_none():
    hidden, rng = np.zeros(2), np.random.default_rng(1)
    script = ScriptState(state={"hidden": hidden, "rng": rng})
    saved = script.capture()
    hidden[...] = 3.0
    drawn = rng.random()
    bad = saved | {"state['rng']": np.random.MT19937(1).state}
    with pytest.raises(CheckpointError, match=r"state\['rng'\] does not accept the state in the file"):
        script.restore(bad)
    assert hidden.tolist() == [3.0, 3.0]
    assert rng.random() != drawn


def test_other_names_are_refused():
    script = ScriptState(np.random.default_rng(1))
    with pytest.raises(CheckpointError, match=r"of this run have rng, the file has nothing"):
        script.restore({})


@pytest.mark.parametrize(("given", "rng", "state"), [(False, None, None), (True, [], None), (True, None, {})])
def test_whether_a_script_names_something(given, rng, state):
    assert ScriptState(rng, state).given is given


@pytest.mark.parametrize(
    ("rng", "state", "message"),
    [
        (3, None, "expected rng to be a random number generator, got int 3"),
        ({"a": np.zeros(2)}, None, r"expected rng\['a'\] to be a random number generator, got an array"),
        (np.random.default_rng, None, "expected rng to be a random number generator"),
        (None, {"steps": 3}, r"expected state\['steps'\] to be a generator, an array or an object"),
        (None, [object()], r"expected state\[0\] to be a generator, an array or an object"),
    ],
)
def test_what_has_no_state_is_refused(rng, state, message):
    with pytest.raises(OptionError, match=message):
        ScriptState(rng, state)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(2, complex), r"state\['x'\] to be an array .* got ndarray of complex128"),
        (np.array(["a"]), "got ndarray of <U1"),
        (np.array([None]), "got ndarray of object"),
        (np.ma.zeros(2), "got MaskedArray of float64"),
        (np.broadcast_to(np.ones(1), (2,)), "got a read-only array of float64"),
    ],
    ids=["complex", "text", "object", "masked", "read-only"],
)
def test_arrays_that_no_checkpoint_could_restore_are_refused_at_the_start(array, message):
    with pytest.raises(OptionError, match=message):
        ScriptState(state={"x": array})


def test_numbers_in_the_other_order_of_bytes_are_restored():
    array = np.array([1.0, 2.0], ">f8")
    script = ScriptState(state=array)
    script.restore({"state": np.array([3.0, 4.0], "<f8")})
    assert array.tolist() == [3.0, 4.0]
