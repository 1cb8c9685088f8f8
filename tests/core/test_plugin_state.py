"""The state fields of plugins: their defaults at the start of a run, and what a checkpoint keeps."""

import attrs
import numpy as np

from rnncallbacks import Run, hookimpl
from rnncallbacks.core.plugin_state import reset_state, saved_state, state_field


@attrs.define(eq=False, kw_only=True)
class BatchCounter:
    start: int = 3
    batches: int = state_field(attrs.Factory(lambda self: self.start, takes_self=True))
    seen: list[int] = state_field(factory=list, saved=False)
    made: object = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.made = "once"

    @hookimpl
    def on_batch_end(self, batch):
        self.batches += 1
        self.seen.append(batch.index)


def train(plugin, batches):
    with Run(np.zeros(1), plugins=[plugin]) as run:
        for _ in run.epochs(1):
            for _ in run.batches(range(batches)):
                run.backward(1.0, np.zeros(1))


def test_a_second_run_of_one_plugin_begins_with_the_defaults():
    plugin = BatchCounter(start=10)
    for batches in (2, 4):
        train(plugin, batches)
        assert (plugin.batches, plugin.seen) == (10 + batches, list(range(1, batches + 1)))


def test_a_plugin_that_is_registered_in_a_run_begins_with_the_defaults():
    plugin = BatchCounter()
    train(plugin, 2)
    with Run(np.zeros(1)) as run:
        for _ in run.epochs(1):
            run.register(plugin)
            assert (plugin.batches, plugin.seen) == (3, [])
            for _ in run.batches([0]):
                run.backward(1.0, np.zeros(1))


def test_only_saved_fields_are_kept_and_only_the_others_are_reset_after_a_restore():
    plugin = BatchCounter()
    plugin.batches, plugin.seen = 7, [1]
    assert saved_state(plugin) == {"batches": 7, "made": "once"}
    reset_state(plugin, keep_saved=True)
    assert (plugin.batches, plugin.seen) == (7, [])
    reset_state(plugin)
    assert (plugin.batches, plugin.made) == (3, "once")


def test_after_a_restore_the_objects_in_saved_fields_lose_what_a_checkpoint_leaves_out():
    @attrs.define(eq=False)
    class Outer:
        counter: BatchCounter = state_field(factory=BatchCounter)

    outer = Outer()
    outer.counter.batches, outer.counter.seen = 7, [1]
    reset_state(outer, keep_saved=True)
    assert (outer.counter.batches, outer.counter.seen) == (7, [])


def test_state_is_no_option_and_not_in_the_repr():
    assert repr(BatchCounter(start=4)) == "BatchCounter(start=4, made='once')"
    assert saved_state(object()) == {}
    reset_state(object())
