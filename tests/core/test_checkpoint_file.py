"""Checkpoint files: what they keep, what they refuse, and that a failure changes nothing."""

import hashlib
import json
import logging
import math

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from rnncallbacks.core.checkpoint_file import load_checkpoint, save_checkpoint
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.core.run import Run
from rnncallbacks.errors import CheckpointError, RunStateError


@attrs.define(eq=False)
class Counter:
    """What a third party keeps in an object of its own."""

    limit: int
    count: int = attrs.field(default=0, init=False)
    inner: object = attrs.field(default=None, init=False)


@attrs.define(eq=False, kw_only=True)
class Keeper:
    """A plugin with an option, a state, and something that is no state."""

    option: int = 1
    state: object = attrs.field(default=None, init=False)
    _own: object = state_field(factory=object, saved=False)

    @hookimpl
    def on_epoch_end(self):
        pass


def train(run, path, epochs=1, carry=None, states=()):
    """One batch an epoch, saved at the end of the last one; ``states`` are plugins and the state that each gets."""

    class Save:
        @hookimpl(trylast=True)
        def on_epoch_end(self, run, summary):
            if run.epoch == epochs:
                save_checkpoint(run, summary, path)

    with run:
        run.register(Save())
        for _ in run.epochs(epochs):
            for _ in run.batches([0]):
                run.backward(1.0, np.zeros(1))
                for plugin, state in states:
                    plugin.state = state
                if carry is not None:
                    run.carry(carry)
            run.log(note="kept", number=math.nan)


def new_params():
    return {"w": np.arange(6.0).reshape(2, 3), "nested": [np.array(5, dtype=np.int64), (np.ones(2, np.float32),)]}


def test_counts_history_alarms_and_scales_come_back(tmp_path):
    run = Run(np.zeros(1), learning_rate=0.5)
    run.scale_learning_rate("mine", 0.25)
    run.raise_alarm("RNN601", "flat", evidence={"loss": math.inf, "since": 3, "what": "word"})
    train(run, tmp_path / "file", epochs=3)

    again = Run(np.ones(1), learning_rate=0.5)
    load_checkpoint(again, tmp_path / "file")
    assert (again.epoch, again.step, again.scales) == (3, 3, {"mine": 0.25})
    assert repr(again.history.rows) == repr(run.history.rows)
    assert again.alarms == run.alarms


def test_parameters_and_optimizer_state_are_filled_in_place(tmp_path):
    params, optimizer = new_params(), {"step": np.array(7), "m": [np.full(3, 0.5)]}
    params["w"] = np.asfortranarray(params["w"])[:, ::-1]
    train(Run(params, optimizer_state=optimizer), tmp_path / "file")

    others = {"w": np.zeros((2, 3)), "nested": [np.array(0), (np.zeros(2, np.float32),)]}
    other_optimizer = {"step": np.array(0), "m": [np.zeros(3)]}
    arrays = [
        others["w"],
        *others["nested"][:1],
        others["nested"][1][0],
        other_optimizer["step"],
        other_optimizer["m"][0],
    ]
    load_checkpoint(Run(others, optimizer_state=other_optimizer), tmp_path / "file")
    expected = [params["w"], params["nested"][0], params["nested"][1][0], optimizer["step"], optimizer["m"][0]]
    for array, value in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, value)
    assert others["w"] is arrays[0]


@pytest.mark.parametrize("carried", [np.full((2, 3), 0.5), (np.full((2, 3), 0.5), np.full((2, 3), 0.25))])
def test_the_carried_state_comes_back_for_its_phase(tmp_path, carried):
    def zeros(batch_size):
        array = np.zeros((2, batch_size))
        return (array, array.copy()) if isinstance(carried, tuple) else array

    train(Run(np.zeros(1), zeros=zeros), tmp_path / "file", carry=carried)
    again = Run(np.zeros(1), zeros=zeros)
    load_checkpoint(again, tmp_path / "file")
    with again:
        for _ in again.epochs(2):
            for _ in again.batches([0], phase="val"):
                assert not np.any(again.hidden(3))
            for _ in again.batches([0]):
                np.testing.assert_array_equal(again.hidden(3), carried)


STATES = [
    None,
    True,
    3,
    -math.inf,
    "word",
    [1, [2.5, "x"]],
    (1, (2, 3)),
    {"a": {"b": [None]}, "array": 3, "tuple": 4, "dict": 5},
    np.float32(0.5),
    {"deep": [(np.arange(3, dtype=np.int16), {"er": np.eye(2)})]},
    np.zeros((0, 3)),
    np.array(True),
]


def same(one, other):
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("state", STATES, ids=repr)
def test_the_state_of_a_plugin_comes_back_as_it_was_and_its_options_do_not(tmp_path, state):
    plugin = Keeper(option=1)
    train(Run(np.zeros(1), plugins={"keeper": plugin}), tmp_path / "file", states=[(plugin, state)])
    again = Keeper(option=2)
    own = again._own
    load_checkpoint(Run(np.zeros(1), plugins={"keeper": again}), tmp_path / "file")
    assert same(state, again.state)
    assert (again.option, again._own) == (2, own)


def counter(limit, count, inner=None):
    made = Counter(limit)
    made.count, made.inner = count, inner
    return made


def test_an_object_in_the_state_of_a_plugin_keeps_its_state_and_not_its_options(tmp_path):
    plugin, again = Keeper(), Keeper()
    again.state = counter(30, 0, counter(30, 0))
    states = [(plugin, counter(3, 7, counter(3, 8)))]
    train(Run(np.zeros(1), plugins={"keeper": plugin}), tmp_path / "file", states=states)
    held = again.state
    load_checkpoint(Run(np.zeros(1), plugins={"keeper": again}), tmp_path / "file")
    assert again.state is held
    assert (held.limit, held.count, held.inner.limit, held.inner.count) == (30, 7, 30, 8)


def test_states_go_by_the_registered_name(tmp_path):
    first, second = Keeper(), Keeper()
    train(Run(np.zeros(1), plugins={"a": first, "b": second}), tmp_path / "file", states=[(first, 1), (second, 2)])
    a, b = Keeper(), Keeper()
    load_checkpoint(Run(np.zeros(1), plugins={"b": b, "a": a}), tmp_path / "file")
    assert (a.state, b.state) == (1, 2)


def test_plugins_that_came_or_went_are_logged_and_left_alone(tmp_path, caplog):
    old = Keeper()
    run = Run(np.zeros(1), plugins={"went": old}, learning_rate=1.0)
    run.scale_learning_rate("went", 0.5)
    run.scale_learning_rate("the_scripts", 0.25)
    train(run, tmp_path / "file", states=[(old, 1)])
    new = Keeper()
    again = Run(np.zeros(1), plugins={"came": new}, learning_rate=1.0)
    with caplog.at_level(logging.WARNING, logger="rnncallbacks"):
        load_checkpoint(again, tmp_path / "file")
    assert new.state is None
    assert "plugin 'came' is in the run only" in caplog.text
    assert "plugin 'went' is in the file only" in caplog.text
    # A scale that nobody would change any more is not taken over.
    assert again.scales == {"the_scripts": 0.25}


# --- refusals ----------------------------------------------------------------------------------------------------


def saved(tmp_path, **options):
    params = {"w": np.ones((2, 3)), "b": np.ones(3)}
    train(Run(params, **options), tmp_path / "file")
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": np.zeros((3, 3)), "b": np.zeros(3)}, r"params\.w is float64 of shape \(3, 3\) in this run, .*\(2, 3\)"),
        ({"w": np.zeros((2, 3)), "b": np.zeros(3, np.float32)}, r"params\.b is float32 .* in this run, float64 of"),
        ({"w": np.zeros((2, 3)), "b": np.zeros(3), "c": np.zeros(1)}, r"params\.c is .* in this run, missing in the"),
        ({"w": np.zeros((2, 3))}, r"params\.b is missing in this run, float64 of shape \(3,\) in the file"),
    ],
)
def test_a_file_of_another_model_changes_nothing(tmp_path, params, message):
    path = saved(tmp_path)
    run = Run(params)
    with pytest.raises(CheckpointError, match=message) as failed:
        load_checkpoint(run, path)
    assert "belongs to one model and one optimizer" in str(failed.value)
    assert not any(array.any() for array in params.values())
    assert (run.epoch, len(run.history)) == (0, 0)


def test_a_file_of_another_optimizer_changes_nothing(tmp_path):
    path = saved(tmp_path, optimizer_state={"momentum": np.ones(9)})
    params = {"w": np.zeros((2, 3)), "b": np.zeros(3)}
    for state in (None, {"m": np.zeros(9), "v": np.zeros(9)}):
        with pytest.raises(CheckpointError, match=r"optimizer_state\.m"):
            load_checkpoint(Run(params, optimizer_state=state), path)
    assert not params["w"].any()


def test_another_version_of_a_plugin_changes_nothing(tmp_path):
    path = saved(tmp_path, plugins={"keeper": Keeper()})

    @attrs.define(eq=False)
    class Newer:
        other: int = attrs.field(default=0, init=False)

        @hookimpl
        def on_epoch_end(self):
            pass

    params = {"w": np.zeros((2, 3)), "b": np.zeros(3)}
    with pytest.raises(CheckpointError, match=r"plugin 'keeper' has the state \['other'\], the file has \['state'\]"):
        load_checkpoint(Run(params, plugins={"keeper": Newer()}), path)

    @attrs.define(eq=False)
    class Holder(Keeper):
        state: Counter = attrs.field(factory=lambda: counter(1, 1), init=False)

    with pytest.raises(CheckpointError, match=r"'keeper', state: expected a Counter, got None"):
        load_checkpoint(Run(params, plugins={"keeper": Holder()}), path)
    assert not params["w"].any()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100, b"\xff" * 1000])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match="file cannot be read as a checkpoint"):
        load_checkpoint(Run(np.zeros(1)), tmp_path / "file")


def test_a_file_cut_short_or_not_there(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-8])
    for broken in (path, tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_checkpoint(Run({"w": np.zeros((2, 3)), "b": np.zeros(3)}), broken)


@pytest.mark.parametrize("metadata", [None, {"version": "0", "run": "{}"}])
def test_weights_without_a_run_and_other_versions(tmp_path, metadata):
    save_file({"params.": np.zeros(1)}, tmp_path / "file", metadata=metadata)
    with pytest.raises(CheckpointError, match="expected a checkpoint of version 3, got"):
        load_checkpoint(Run(np.zeros(1)), tmp_path / "file")


def test_a_run_that_has_begun_is_left_as_it_is(tmp_path):
    path = saved(tmp_path, plugins={"keeper": Keeper()})
    params, keeper = {"w": np.zeros((2, 3)), "b": np.zeros(3)}, Keeper()
    with Run(params, plugins={"keeper": keeper}) as run:
        for _ in run.epochs(1):
            keeper.state = "mine"
            with pytest.raises(RunStateError, match="this run has begun already"):
                load_checkpoint(run, path)
    assert not params["w"].any()
    assert keeper.state == "mine"


@pytest.mark.parametrize(
    "state", [object(), {object()}, {1: object()}, [lambda: 0], attrs.make_class("Plain", ["x"])(1)], ids=type
)
def test_a_state_that_cannot_be_kept_is_named_and_the_old_file_stays(tmp_path, state):
    path = saved(tmp_path)
    before = path.read_bytes()
    plugin = Keeper()
    with pytest.raises(CheckpointError, match=r"plugins\.keeper\.state.*: a \w+ cannot be saved in a checkpoint"):
        train(Run(np.zeros(1), plugins={"keeper": plugin}), path, states=[(plugin, state)])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_run_without_parameters_has_nothing_to_save(tmp_path):
    with pytest.raises(CheckpointError, match="a checkpoint needs the parameters"):
        train(Run(), tmp_path / "file")


# --- damage ------------------------------------------------------------------------------------------------------


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_found_and_changes_nothing(tmp_path, data):
    path = tmp_path / "file"
    if not path.exists():
        saved(tmp_path, plugins={"keeper": Keeper()})
    whole = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    (tmp_path / "damaged").write_bytes(damaged)
    params, keeper = {"w": np.zeros((2, 3)), "b": np.zeros(3)}, Keeper()
    run = Run(params, plugins={"keeper": keeper})
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(run, tmp_path / "damaged")
    assert not any(array.any() for array in params.values())
    assert (run.epoch, keeper.state) == (0, None)


def checksum(text, arrays):
    """The SHA-256 as an author of such a file would compute it."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.name}\0{array.shape}\0".encode() + array.tobytes())
    return digest.hexdigest()


def edited(path, edit):
    """The file with another content under a checksum that fits."""
    with safe_open(path, framework="numpy") as file:
        content = json.loads(file.metadata()["run"])
    edit(content)
    text, arrays = json.dumps(content), load_file(path)
    save_file(arrays, path, metadata={"version": "3", "run": text, "sha256": checksum(text, arrays)})
    return path


EDITS = {
    "nothing": lambda content: content.clear(),
    "no step": lambda content: content.pop("step"),
    "one key more": lambda content: content.update(more=1),
    "epoch below 1": lambda content: content.update(epoch=-3),
    "epoch as a word": lambda content: content.update(epoch="3"),
    "epoch as truth": lambda content: content.update(epoch=True),
    "step below 0": lambda content: content.update(step=-1),
    "scale NaN": lambda content: content["scales"].update(mine=math.nan),
    "scale below 0": lambda content: content["scales"].update(mine=-0.5),
    "scale as a word": lambda content: content["scales"].update(mine="0.1"),
    "history of numbers": lambda content: content.update(history=[1]),
    "history with a list": lambda content: content["history"][0].update(train_loss=[1]),
    "alarm without a code": lambda content: content["diagnosis"].update(alarms=[{"cause": "none"}]),
    "no record of checks": lambda content: content["diagnosis"].pop("compared"),
    "repair as a word": lambda content: content.update(repairs=["clipped"]),
    "hidden of no kind": lambda content: content.update(hidden={"list": []}),
    "array that is not there": lambda content: content["plugins"]["keeper"].update(state={"array": "none"}),
    "two kinds": lambda content: content["plugins"]["keeper"].update(state={"array": "a", "tuple": []}),
    "plugins as a list": lambda content: content.update(plugins=[]),
    "fields as a list": lambda content: content["plugins"].update(keeper=[]),
    "a field more": lambda content: content["plugins"]["keeper"].update(more=1),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_content_that_no_run_has_is_refused_whole(tmp_path, edit):
    path = edited(saved(tmp_path, plugins={"keeper": Keeper()}), edit)
    params, keeper = {"w": np.zeros((2, 3)), "b": np.zeros(3)}, Keeper()
    run = Run(params, plugins={"keeper": keeper}, learning_rate=0.5)
    with pytest.raises(CheckpointError, match="file"):
        load_checkpoint(run, path)
    assert not any(array.any() for array in params.values())
    assert (run.epoch, run.step, run.scales, keeper.state) == (0, 0, {}, None)


def test_content_under_a_checksum_that_fits_is_read(tmp_path):
    path = edited(saved(tmp_path), lambda content: content.update(step=9))
    run = Run({"w": np.zeros((2, 3)), "b": np.zeros(3)})
    load_checkpoint(run, path)
    assert run.step == 9


def test_numbers_in_the_other_order_of_bytes_come_back(tmp_path):
    train(Run({"w": np.arange(3.0).astype(">f8")}), tmp_path / "file")
    params = {"w": np.zeros(3, ">f8")}
    load_checkpoint(Run(params), tmp_path / "file")
    np.testing.assert_array_equal(params["w"], [0, 1, 2])


@pytest.mark.parametrize("dtype", ["longdouble", "complex64"])
def test_numbers_that_a_file_cannot_hold_are_named(tmp_path, dtype):
    if np.dtype(dtype).itemsize <= 8 and dtype == "longdouble":
        pytest.skip("this processor's longdouble is a float64")
    with pytest.raises(CheckpointError, match=r"cannot hold params\.w: expected .* got (float|complex)"):
        train(Run({"w": np.zeros(3, dtype)}), tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_states_whose_paths_are_alike_are_kept_apart(tmp_path):
    plugin, again = Keeper(), Keeper()
    state = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}}
    train(Run(np.zeros(1), plugins={"keeper": plugin}), tmp_path / "file", states=[(plugin, state)])
    load_checkpoint(Run(np.zeros(1), plugins={"keeper": again}), tmp_path / "file")
    assert same(state, again.state)


def test_a_plugin_may_refuse_its_state_before_anything_is_restored(tmp_path):
    @attrs.define(eq=False)
    class Careful(Keeper):
        def check_state(self, state, params):
            raise ValueError(f"{state['state']} does not belong to {sorted(params)}")

    plugin = Keeper()
    path = tmp_path / "file"
    train(Run({"w": np.ones(2)}, plugins={"keeper": plugin}), path, states=[(plugin, 7)])
    params, careful = {"w": np.zeros(2)}, Careful()
    with pytest.raises(CheckpointError, match=r"file: plugin 'keeper': 7 does not belong to \['w'\]"):
        load_checkpoint(Run(params, plugins={"keeper": careful}), path)
    assert (params["w"].any(), careful.state) == (False, None)
