"""The first non-finite value of a batch: found in every array, whatever follows from it, in every layout."""

import math

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.arrays.containers import all_finite
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.nonfinite import NonFiniteValues, find_non_finite
from rnncallbacks.rnn.data.batches import SequenceBatch

T, B, H, F, V = 7, 4, 5, 3, 6
NAN, INF = math.nan, math.inf
BAD = st.sampled_from([NAN, INF, -INF])
ORDER = (
    *("inputs", "entering_state", "parameters", "hidden_states", "logits", "targets", "loss"),
    *("hidden_gradients", "gradients"),
)
STEPWISE = ("inputs", "hidden_states", "logits", "targets", "hidden_gradients")


@attrs.define
class Seen:
    """All that a batch can show, time first and then row by row."""

    inputs: np.ndarray = attrs.Factory(lambda: np.ones((T, B, F)))
    entering_state: np.ndarray = attrs.Factory(lambda: np.ones((B, H)))
    parameters: np.ndarray = attrs.Factory(lambda: np.ones((H, H)))
    hidden_states: np.ndarray = attrs.Factory(lambda: np.ones((T, B, H)))
    logits: np.ndarray = attrs.Factory(lambda: np.ones((T, B, V)))
    targets: np.ndarray = attrs.Factory(lambda: np.ones((T, B, 2)))
    loss: np.ndarray = attrs.Factory(lambda: np.ones(()))
    hidden_gradients: np.ndarray = attrs.Factory(lambda: np.ones((T, B, H)))
    gradients: np.ndarray = attrs.Factory(lambda: np.ones((H, H)))

    @property
    def grads(self):
        return {"b": np.zeros(H), "w": self.gradients}

    @property
    def params(self):
        return {"b": np.zeros(H), "w": self.parameters}

    def batch(self, sequences="TB", states="BH", logits="TBV", listed=False, size=B):
        """As a script may lay it out: the axes of the sequences, of a state, of the logits; time steps in a list."""
        inputs, targets = (
            array if sequences == "TB" else array.swapaxes(0, 1) for array in (self.inputs, self.targets)
        )
        observed = {
            "hidden_states": np.concatenate([self.entering_state[None], self.hidden_states]),
            "hidden_gradients": self.hidden_gradients,
        }
        if states == "HB":
            observed = {name: array.swapaxes(1, 2) for name, array in observed.items()}
        if logits == "rows":
            rows = self.logits if sequences == "TB" else self.logits.swapaxes(0, 1)
            observed["logits"] = rows.reshape(T * B, V)
        else:
            observed["logits"] = self.logits.transpose(["TBV".index(axis) for axis in logits])
        if listed:
            observed |= {name: list(observed[name]) for name in ("hidden_states", "hidden_gradients")}
            if logits.startswith("T"):
                observed["logits"] = list(observed["logits"])
        return Batch((inputs, targets), "train", 3, loss=float(self.loss), batch_size=size, observed=observed)

    def poison(self, source, where, value):
        array = getattr(self, source)
        array[np.unravel_index(where % array.size, array.shape)] = value


layouts = st.fixed_dictionaries(
    {
        "sequences": st.sampled_from(["TB", "BT"]),
        "states": st.sampled_from(["BH", "HB"]),
        "logits": st.sampled_from(["TBV", "BTV", "TVB", "rows"]),
        "listed": st.booleans(),
    }
)
indices = st.integers(0, 10_000)
spots = st.lists(st.tuples(indices, BAD), min_size=1, max_size=5)


@given(st.sampled_from(ORDER), spots, st.dictionaries(st.sampled_from(ORDER), spots), layouts)
def test_the_first_source_time_step_and_row_are_named_whatever_follows(first, cause, effects, layout):
    seen = Seen()
    for source, bad in (effects | {first: cause}).items():
        if ORDER.index(source) >= ORDER.index(first):
            for where, value in bad:
                seen.poison(source, where, value)
    if first not in ("loss", "hidden_gradients", "gradients"):
        seen.poison("loss", 0, NAN)
    elif first == "hidden_gradients":
        seen.poison("gradients", 0, NAN)
    batch = seen.batch(**layout)
    values = find_non_finite(batch, seen.params, seen.grads).first

    bad = ~np.isfinite(getattr(seen, first))
    assert values.source == first
    step, row = None, None
    if first in STEPWISE:
        steps = np.flatnonzero(bad.any(axis=(1, 2)))
        step = int(steps[-1 if first == "hidden_gradients" else 0])
        bad = bad[step]
    if first in (*STEPWISE, "entering_state"):
        row = int(np.flatnonzero(bad.any(axis=-1))[0])
    assert (values.non_finite, values.entries) == (np.count_nonzero(bad), bad.size)
    assert (values.time_step, values.seq_len) == ((None, None) if step is None else (step + 1, T))
    assert (values.row, values.rows) == ((None, None) if row is None else (row + 1, B))
    assert values.path == ("w" if first in ("parameters", "gradients") else "")


@given(st.lists(st.tuples(st.sampled_from(ORDER), indices, BAD), max_size=8), layouts)
def test_what_is_looked_at_stays_as_it_is(bad, layout):
    seen = Seen()
    for source, where, value in bad:
        seen.poison(source, where, value)
    before = {name: getattr(seen, name).copy() for name in ORDER}
    finding = find_non_finite(seen.batch(**layout), seen.params, seen.grads)
    bad_sources = {source for source, _, _ in bad}
    assert (finding is None) == (not bad_sources & {"loss", "gradients"})
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(seen, name), array)
    if finding is not None:
        assert finding.symptom.source == ("loss" if "loss" in bad_sources else "gradients")
        assert finding.non_finite_parameters == np.count_nonzero(~np.isfinite(seen.parameters))
        assert not bad_sources & set(finding.finite) - {"targets"}


@given(st.lists(st.floats(-1.7e308, 1.7e308), min_size=1), st.sampled_from([np.float32, np.float64]))
def test_huge_values_are_finite(values, dtype):
    with np.errstate(over="ignore"):
        array = np.array(values).astype(dtype)
    finite = bool(np.isfinite(array).all())
    assert all_finite([np.zeros(2), array]) == finite
    batch = Batch(None, "train", 1, loss=1e308)
    assert (find_non_finite(batch, {}, {"w": array}) is None) == finite


junk = st.recursive(
    st.none() | st.text(max_size=3) | st.integers() | st.floats() | st.just(object()) | st.just(np.array(["a"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(st.fixed_dictionaries(dict.fromkeys((*ORDER[:5], "targets", "hidden_gradients"), junk)), junk, junk)
def test_whatever_a_script_shows_is_survived(observed, data, params):
    finding = find_non_finite(Batch(data, "train", 1, loss=NAN, observed=observed), params)
    assert finding.symptom == NonFiniteValues(source="loss", non_finite=1, entries=1)


def test_a_container_that_contains_itself_has_an_end():
    data = {"series": np.array([NAN])}
    data["self"] = data
    assert find_non_finite(Batch(data, "train", 1, loss=NAN), None).first.array == "data.series"


# --- what is left out, and other layouts -------------------------------------------------------------------------


def test_targets_that_mark_what_is_missing_are_cleared_by_a_finite_loss():
    seen = Seen()
    seen.poison("targets", 0, NAN)
    seen.poison("gradients", 0, NAN)
    assert find_non_finite(seen.batch(), seen.params, seen.grads).first.array == "gradients.w"
    seen.poison("loss", 0, NAN)
    assert find_non_finite(seen.batch(), seen.params, seen.grads).first.array == "targets"


def test_hidden_states_without_the_entering_one():
    seen = Seen()
    seen.hidden_states[2, 1, 0] = seen.loss[...] = NAN
    batch = seen.batch()
    batch.observed["hidden_states"] = seen.hidden_states
    values = find_non_finite(batch, None).first
    assert (values.array, values.time_step, values.seq_len, values.row) == ("hidden_states", 3, T, 2)


def test_states_of_two_arrays():
    """An LSTM's, of which the second is bad_sources; in a list of time steps, or each with all of them."""
    steps = [(np.ones((B, H)), np.ones((B, H))) for _ in range(T + 1)]
    steps[4][1][3] = INF
    batch = Batch(np.zeros((T, B), dtype=int), "train", 1, loss=NAN, batch_size=B, observed={"hidden_states": steps})
    values = find_non_finite(batch, None).first
    assert str(values) == f"the hidden states, array '1', time step 4 of {T}, row 4 of {B} ({H} of {B * H} entries)"
    batch.data = (np.zeros((T, B), dtype=int), np.zeros((T, B), dtype=int))
    batch.observed["hidden_states"] = tuple(np.stack([step[which] for step in steps]) for which in (0, 1))
    values = find_non_finite(batch, None).first
    assert (values.array, values.time_step) == ("hidden_states.1", None)


def test_a_state_as_wide_as_the_batch_has_no_row_that_is_sure():
    seen = Seen(entering_state=np.ones((H, H)))
    seen.entering_state[1, 2] = seen.loss[...] = NAN
    batch = Batch(None, "train", 1, loss=NAN, batch_size=H, entering_state=seen.entering_state)
    values = find_non_finite(batch, None).first
    assert (values.array, values.row, values.non_finite) == ("entering_state", None, 1)


def test_one_sequence_is_told_of_without_its_row():
    batch = SequenceBatch(inputs=np.array([[[1.0]], [[NAN]]]), targets=np.zeros((2, 1, 1)))
    values = find_non_finite(Batch(batch, "train", 1, loss=NAN), None).first
    assert (values.time_step, values.row, values.rows) == (2, 1, 1)
    assert str(values) == "the inputs, time step 2 of 2 (1 of 1 entries)"


def test_targets_of_whole_sequences_have_rows_and_no_time():
    targets = np.array([[1.0], [NAN], [1.0], [1.0]])
    batch = Batch((np.ones((T, B, F)), targets), "train", 1, loss=NAN, batch_size=B)
    values = find_non_finite(batch, None).first
    assert (values.array, values.time_step, values.row, values.entries) == ("targets", None, 2, 4)


@pytest.mark.parametrize(
    ("data", "array", "entries"),
    [
        (NAN, "data", 1),
        ([1.0, NAN], "data", 2),
        ({"series": np.ones(3), "lengths": np.array([INF, 1.0])}, "data.lengths", 2),
        ({"x": np.ones(3), "y": np.array([INF, 1.0])}, "targets", 2),
        ((3, {"x": [np.float32(NAN)]}), "data.1.x.0", 1),
    ],
)
def test_data_of_any_form(data, array, entries):
    values = find_non_finite(Batch(data, "train", 1, loss=NAN), None).first
    assert (values.array, values.entries) == (array, entries)
