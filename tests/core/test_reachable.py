"""What a closure can reach comes back as it was: containers, models, variables, generators."""

import array
import contextvars
import functools
import importlib
import io
import itertools
import queue
import random
import sys
import threading
import weakref
from collections import Counter, OrderedDict, deque
from typing import ClassVar

import numpy as np
import pytest

from rnncallbacks.core.reachable import REACHABLE_LIMITS, Reachable, ReachableLimits

calls = 0


class Layer:
    count = 0

    def __init__(self):
        self.w, self.grad, self.cache, self.calls = np.ones((2, 2)), np.zeros((2, 2)), None, 0

    def loss(self):
        self.grad += self.w
        self.cache = self.w @ self.w
        self.calls += 1
        Layer.count += 1
        return float(self.cache.sum())

    def __call__(self):
        return self.loss()


class Slotted:
    __slots__ = ("buffer", "steps")

    def __init__(self):
        self.buffer, self.steps = np.zeros(3), []

    def loss(self):
        self.buffer = self.buffer + 1.0
        self.steps.append(1)
        return 1.0


def counting():
    global calls
    calls += 1
    return float(calls)


def with_nonlocal():
    count = 0

    def loss():
        nonlocal count
        count += 1
        return float(count)

    return loss


def with_containers():
    state = {"grads": [np.zeros(2), {"b": np.zeros(1)}], "seen": set(), "last": deque(maxlen=3), "text": bytearray(2)}

    def loss():
        state["grads"][0] += 1.0
        state["grads"][1]["b"] = np.ones(1)
        state["seen"].add(len(state["seen"]))
        state["last"].append(1)
        state["text"][0] += 1
        state["new"] = 1
        return float(state["grads"][0].sum() + len(state["seen"]) + state["text"][0])

    return loss


def with_generators():
    own, old, bits, module = np.random.default_rng(0), np.random.RandomState(0), np.random.PCG64(0), random.Random(0)

    def loss():
        drawn = own.normal() + old.normal() + np.random.Generator(bits).normal() + module.random()
        return drawn + np.random.rand() + random.random()  # noqa: NPY002

    return loss


def with_a_view():
    flat = np.zeros(6)
    view = flat.reshape(2, 3)

    def loss():
        view[0] += 1.0
        return float(flat.sum())

    return loss


def inner_function():
    arrays = [np.zeros(2)]

    def loss():
        def add(value):
            arrays[0][:] += value

        add(1.0)
        return float(arrays[0].sum())

    return loss


def with_arrays_that_change_their_kind():
    locked, shaped, resized, typed = np.zeros(2), np.zeros((2, 3)), np.zeros(4), np.zeros(2)
    locked.flags.writeable = False

    def loss():
        locked.flags.writeable = True
        locked[:] += 1.0
        locked.flags.writeable = False
        shaped.shape = shaped.shape[::-1]
        resized.resize(resized.size + 1, refcheck=False)
        typed.dtype = np.int64
        typed[0] += 1
        return float(locked.sum() + shaped.shape[0] + resized.size + typed[0])

    return loss


def with_structured_arrays():
    record = np.zeros(2, dtype=[("steps", "i1"), ("loss", "f8"), ("seen", object)])
    record["seen"] = [[], []]

    def loss():
        record["steps"] += 1
        record["loss"] += 0.5
        record["seen"][0].append(1)
        return float(record["steps"].sum() + record["loss"].sum() + len(record["seen"][0]))

    return loss


def with_objects_of_the_standard_library():
    class Key:
        pass

    key, weak, local, waiting = Key(), weakref.WeakKeyDictionary(), threading.local(), queue.Queue()
    numbers, view, variable = array.array("d", [0.0]), memoryview(bytearray(2)), contextvars.ContextVar("calls")
    places = iter([1.0, 2.0, 3.0])
    local.calls = 0
    variable.set([])

    def loss():
        weak[key] = weak.get(key, 0) + 1
        local.calls += 1
        waiting.put(1)
        numbers[0] += 1.0
        numbers.append(1.0)
        view[0] += 1
        variable.get().append(1)
        counts = weak[key] + local.calls + waiting.qsize() + sum(numbers) + view[0] + len(variable.get())
        return float(counts + next(places))

    return loss


def with_a_cached_function():
    @functools.lru_cache(maxsize=4)
    def mask(units):
        return np.ones(units)

    mask(3)

    def loss():
        mask(3)[:] += 1.0
        return float(mask(3).sum())

    return loss


def with_a_generator_that_spawns():
    rng = np.random.default_rng(0)
    return lambda: float(rng.spawn(1)[0].normal())


def with_seeds_that_spawn():
    seeds = np.random.SeedSequence(0)
    return lambda: float(seeds.spawn(1)[0].generate_state(1)[0])


def with_classes_that_change():
    class Counting(type):
        made: ClassVar[list] = []

        def __call__(cls):
            cls.made.append(1)
            return super().__call__()

    class Unit(metaclass=Counting):
        def scale(self):
            return 1.0

    def loss():
        scale = Unit().scale()
        Unit.scale = lambda self: scale + 1.0
        return float(scale + len(Counting.made))

    return loss


def with_an_object_that_changes_its_class():
    class Training:
        __slots__ = ("steps",)

        def __init__(self):
            self.steps = 0

        def loss(self):
            self.steps += 1
            self.__class__ = Evaluating
            return float(self.steps)

    class Evaluating(Training):
        __slots__ = ()

        def loss(self):
            return -1.0

    unit = Training()
    return lambda: unit.loss()


CLOSURES = {
    "an object that changes its class": with_an_object_that_changes_its_class,
    "arrays that change their kind": with_arrays_that_change_their_kind,
    "structured arrays": with_structured_arrays,
    "the standard library": with_objects_of_the_standard_library,
    "a cached function": with_a_cached_function,
    "a generator that spawns others": with_a_generator_that_spawns,
    "seeds that spawn others": with_seeds_that_spawn,
    "classes that change": with_classes_that_change,
    "a bound method": lambda: Layer().loss,
    "an object that can be called": Layer,
    "slots": lambda: Slotted().loss,
    "a global variable": lambda: counting,
    "a variable of the function around": with_nonlocal,
    "containers": with_containers,
    "generators": with_generators,
    "a view of an array": with_a_view,
    "a function in a function": inner_function,
    "partial": lambda: functools.partial(
        lambda layer, factor: factor * layer.loss() + layer.calls, Layer(), factor=2.0
    ),
    "a default argument": lambda: lambda layer=Layer(): layer.loss() + layer.calls,  # noqa: B008
}


def reachable_from(*roots, limits=REACHABLE_LIMITS):
    reachable = Reachable(limits)
    reachable.take(roots)
    return reachable


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")  # of scripts, since NumPy 2.5
@pytest.mark.parametrize("name", CLOSURES)
def test_what_a_closure_changes_is_restored(name):
    closure = CLOSURES[name]()
    count = Layer.count
    reachable = reachable_from(closure)
    first = closure()
    assert reachable.complete
    for _ in range(3):
        assert reachable.restore() == []
        assert Layer.count == count
        reachable.take([closure])
        assert closure() == first


def test_random_numbers_are_the_same_at_each_call_and_the_generators_go_on_where_they_were():
    rng = np.random.default_rng(0)
    reachable = reachable_from(rng)
    reachable.rewind()
    first = rng.normal()
    reachable.restore()
    rng.normal()  # the script's own
    between = rng.bit_generator.state
    reachable.take([rng])
    reachable.rewind()
    assert rng.normal() == first
    assert reachable.restore() == []
    assert rng.bit_generator.state == between


def test_a_module_of_the_script_is_followed(tmp_path, monkeypatch):
    (tmp_path / "their_network.py").write_text(
        "import numpy as np\ncache = {}\nsteps = 0\n\n"
        "def loss():\n    global steps, last\n    steps += 1\n    last = cache[steps] = np.ones(2)\n"
        "    return float(steps)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    their_network = importlib.import_module("their_network")
    scope = {"their_network": their_network, "__name__": "their_script"}
    exec("def closure():\n    return their_network.loss()\n", scope)
    reachable = reachable_from(scope["closure"])
    assert scope["closure"]() == 1.0
    assert reachable.restore() == []
    assert (their_network.steps, their_network.cache, hasattr(their_network, "last")) == (0, {}, False)
    del sys.modules["their_network"]


def test_objects_that_come_later_are_found():
    model = {"w": np.zeros(2)}
    reachable = reachable_from(model)
    reachable.restore()
    model["w"] = np.ones(2)  # an update that makes new arrays
    reachable.take([model])
    model["w"] += 1.0
    assert reachable.restore() == []
    assert model["w"].tolist() == [1.0, 1.0]


def test_arrays_come_back_bit_for_bit():
    array = np.array([0.0, -0.0, np.nan, np.inf])
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    objects = np.array([[], None], dtype=object)
    content = array.tobytes()
    reachable = reachable_from(array, masked, objects, array[::2], np.array(3.0), np.zeros((0, 2)))
    array[:] = [-0.0, 0.0, 1.0, 2.0]
    masked[0], objects[1] = np.ma.masked, 1
    objects[0].append(1)
    assert reachable.restore() == []
    assert array.tobytes() == content
    assert (masked.mask.tolist(), objects.tolist()) == ([False, True], [[], None])


def test_the_order_of_a_dict_comes_back():
    plain, ordered, counted = {"a": 1, "b": 2}, OrderedDict(a=1, b=2), Counter("aab")
    reachable = reachable_from(plain, ordered, counted)
    plain["a"] = plain.pop("a")
    ordered.move_to_end("a")
    counted.update("abc")
    assert reachable.restore() == []
    assert (list(plain), list(ordered), counted) == (["a", "b"], ["a", "b"], {"a": 2, "b": 1})


def moved_generator():
    numbers = iter(range(3)), (number for number in range(3))
    return numbers, lambda: [next(one) for one in numbers], "generator"


def written_file():
    file = io.StringIO()
    return [file], lambda: file.write("loss"), "StringIO"


def cycle_within_its_first_round():
    turns = itertools.cycle([1, 2, 3])
    return [turns], lambda: next(turns), "cycle"


def cycle_after_its_first_round():
    turns = itertools.cycle([1, 2, 3])
    return [turns], lambda: [next(turns) for _ in range(5)], "cycle"


@pytest.mark.parametrize(
    "make", [moved_generator, written_file, cycle_within_its_first_round, cycle_after_its_first_round]
)
def test_what_cannot_be_put_back_is_named(make):
    root, change, words = make()
    reachable = reachable_from(root)
    assert reachable.restore() == []
    change()
    assert words in "; ".join(reachable.restore())


def test_a_file_that_is_read_is_set_back(tmp_path):
    (tmp_path / "corpus").write_text("abc")
    with (tmp_path / "corpus").open() as file:
        reachable = reachable_from(file)
        assert file.read() == "abc"
        assert reachable.restore() == []
        assert file.read() == "abc"


@pytest.mark.parametrize("limits", [ReachableLimits(objects=5), ReachableLimits(array_bytes=100)])
def test_a_search_that_is_cut_says_so(limits):
    reachable = reachable_from([np.zeros(8) for _ in range(10)], limits=limits)
    assert not reachable.complete


def test_views_and_mapped_files_count_once(tmp_path):
    np.save(tmp_path / "data.npy", np.zeros(1000))
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r")
    whole = np.zeros(100)
    assert reachable_from(whole, whole[:50], mapped, mapped[3:], limits=ReachableLimits(array_bytes=900)).complete
