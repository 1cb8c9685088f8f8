"""Watches the training loop of a script, from inside the process that runs it.

At the start of an iteration the process may be forked and frozen. A request to the frozen one forks it again: the
new one writes other values into the script's arrays, runs the iteration, and returns the recorded values.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from rnncallbacks.doctor.frame_scopes import OwnModules
from rnncallbacks.doctor.frozen_copy import REPLAY_FAILED, end_after, next_replay, print_nothing
from rnncallbacks.doctor.instrument import Site, Sites, key_at
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.loop_items import ItemReader
from rnncallbacks.doctor.numbers_between_epochs import NumbersBetweenEpochs
from rnncallbacks.doctor.other_threads import OpenLoops, other_threads
from rnncallbacks.doctor.reported_numbers import LoopReports
from rnncallbacks.doctor.rolled_data import roll_requested
from rnncallbacks.doctor.update_period import UpdatePeriod
from rnncallbacks.doctor.value_walk import Key, arrays_in, copy_of, walk, write_into
from rnncallbacks.doctor.watch_messages import Command, ReplayRequest, RerunRequest, WatchEnded

CHANGES_OF_STATEMENT = 64
"""Changes by one statement in an iteration whose arrays are copied. Chosen by eye."""
FUNCTION_VALUES = 400
"""Largest number of copied values of one function call. Chosen by eye."""


class LoopWatch:
    """Records the iterations of one loop, and executes the command after each.

    Parameters
    ----------
    sites, modules:
        The instrumented places and modules.
    loop:
        File and line of the training loop.
    link:
        The connection for records and commands.
    channels:
        The connections of frozen copies.
    fork:
        Forks the process, as ``os.fork``; None where there is none.
    rerun:
        The iteration to replay in this process; None to record all.
    """

    def __init__(
        self,
        sites: Sites,
        modules: OwnModules,
        loop: tuple[str, int],
        link: Connection,
        channels: list[Connection],
        fork: Callable[[], int] | None,
        rerun: RerunRequest | None = None,
    ) -> None:
        self.replaying: ReplayRequest | None = None
        self.answered = False
        self.updates = UpdatePeriod()
        self._reports = LoopReports(sites)
        self._between = NumbersBetweenEpochs()
        self._sites = sites
        self._modules = modules
        self._loop = os.path.realpath(loop[0]), loop[1]
        self._link = link
        self._channels = channels
        self._fork = fork
        self._rerun = rerun
        self._answer_on: Connection | None = None
        self._frame: FrameType | None = None
        self._activation = self._recorded_activation = 0
        self._open_loops = OpenLoops()
        self._record: IterationRecord | None = None
        self._begun = 0.0
        self._count = 0
        self._events = 0
        self._calls: dict[int, int] = {}
        self._kept: list[Any] = []  # keeps identities valid within an iteration
        self._accumulating: set[int] = set()
        self._raw_count: dict[int, int] = {}
        self._change_count: dict[tuple[int, int], int] = {}
        self._objects: dict[Key, Any] = {}
        self._wanted: frozenset[Key] | None = None
        self._items = ItemReader()

    def start(self, number: int, frame: FrameType) -> None:
        """The loop begins."""
        self._open_loops.begin(self._sites[number], frame)
        roll_requested(self.replaying, frame, self._frame, self._modules)

    def tick(self, number: int, frame: FrameType) -> None:
        """An iteration of the loop begins."""
        if self.answered:  # a script may catch every exception
            raise WatchEnded
        if self._frame is None:
            site = self._sites[number]
            self._open_loops.tick(site)
            if site.line != self._loop[1] or site.kind != "loop" or os.path.realpath(site.file) != self._loop[0]:
                return
            self._frame, self._number = frame, number
            at_module_level = frame.f_locals is frame.f_globals
            self._scope = frame.f_globals["__name__"] if at_module_level else frame.f_code.co_qualname
            self._activation += 1
            self._open_loops.begin_training(site, frame)
            self.updates.start()
        elif frame is not self._frame or number != self._number:
            return
        if not self.updates.begins_at_next_tick():
            self.updates.add(self._modules.values(frame) if self._record is not None else ())
            return
        self._finish(frame)
        self._begin(frame)

    def end(self, number: int, frame: FrameType) -> None:
        """The loop has ended."""
        self._open_loops.end(self._sites[number], frame)
        if frame is self._frame and number == self._number:
            if sys.exc_info()[0] is not None and self.replaying is not None:
                if self._rerun is None:
                    os._exit(REPLAY_FAILED)
                return
            self._finish(frame)
            self._frame, self._between.is_open = None, True

    def returned(self, number: int, value: Any, frame: FrameType) -> None:
        """A function returns: keep copies of its result and of its local values."""
        record = self._record
        if record is None:
            self._between.add_result(self._sites[number], value)
            return
        calls = self._calls[number] = self._calls.get(number, 0) + 1
        scope = self._sites[number].scope + ("" if calls == 1 else f"#{2 if calls == 2 else 'last'}")
        only = self.replaying.only if self.replaying is not None else self._wanted
        if only is not None and not any(key[1] == scope for key in only):
            return
        names = {name: one for name, one in frame.f_locals.items() if name not in ("self", "cls")}
        self._keep("local", scope, names)
        if value is not None:
            self._keep("return", scope, {"return": value})
        if self.replaying is not None and only and all(key in record.inside and "#" not in key[1] for key in only):
            self._answer(record)

    def shown(self, number: int, text: str, value: Any) -> None:
        """The script prints a value."""
        self._between.add_shown(self._sites[number], text, value)

    def before(
        self, number: int, text: str, base: Any, index: Any, names: tuple[str, ...] = (), operands: tuple[Any, ...] = ()
    ) -> None:  # fmt: skip
        """A statement is about to change or replace arrays: keep copies of them and of its operands of their shape."""
        record = self._record
        if record is None:
            self._between.add_change(self._sites[number], base, index)
        if record is None or (self.replaying is not None and self.replaying.only is not None):
            return
        if index is not None and isinstance(base, list | dict):
            base = base[index]
        site, changed = self._sites[number], arrays_in(text, base)
        if site.additive and isinstance(base, int | float | np.number):
            record.totals.setdefault(text, float(base))
        if not changed or (site.additive and not isinstance(base, np.ndarray)):  # a longer list has the same arrays
            return
        count = self._raw_count[number] = self._raw_count.get(number, 0) + 1
        for name, array in changed:
            self._keep_changed(number, site, name, array, count)
            if array is base and count <= CHANGES_OF_STATEMENT:
                self._keep_operands(site, base, names, operands, count)

    def term(self, number: int, text: str, value: Any, base: Any, rate: Any) -> None:
        """A statement is about to add a product to an array: keep it without its rate."""
        only_some = self._record is None or (self.replaying is not None and self.replaying.only is not None)
        count = self._raw_count[number] = self._raw_count.get(number, 0) + 1
        if not only_some and isinstance(base, np.ndarray) and np.size(value) == base.size and np.ndim(rate) == 0:
            gradient = np.reshape(value, base.shape) / (float(rate) or 1.0)
            self._keep_operands(self._sites[number], base, (text,), (gradient,), count)

    def _keep_changed(self, number: int, site: Site, name: str, array: Any, count: int) -> None:
        """Keep an array that a statement is about to change, unless the statement adds to it."""
        record, identity = self._record, id(array)
        assert record is not None
        if self._wanted is None:
            seen = record.changes.get(identity, ())
            record.changes[identity] = (*(one for one in seen if one is not site), site)
            changes = self._change_count[number, identity] = self._change_count.get((number, identity), 0) + 1
            record.repeats[identity] = max(changes, record.repeats.get(identity, 0))
        if site.additive:
            if identity not in self._accumulating:
                self._accumulating.add(identity)
                self._kept.append(array)
            return
        self._accumulating.discard(identity)
        if count <= CHANGES_OF_STATEMENT:
            self._store(key_at("raw", site, name, count), array)

    def _keep_operands(
        self, site: Site, base: Any, names: tuple[str, ...], operands: tuple[Any, ...], count: int
    ) -> None:
        """Keep the operands that may be gradients: a local variable has only the last one when its function returns."""
        record = self._record
        assert record is not None
        for name, value in zip(names, operands, strict=True):
            if value is base or getattr(value, "shape", None) != base.shape or value.dtype.kind != "f":
                continue
            key = key_at("operand", site, name, count)
            self._store(key, value)
            record.bases[key] = id(base)

    def _begin(self, frame: FrameType) -> None:
        self._count += 1
        self._reports.begin(self._sites[self._number], frame, self.updates.period)
        if self._rerun is not None:
            if self._count == self._rerun.iteration:
                self._begin_record()
                self._copy_values(frame, {}, {}, keep=True)
                self._prepare(self._rerun.request, self._link)
                assert self._record is not None
                self._copy_values(frame, self._record.start, self._record.start_identities, keep=False)
            return
        command: Command = self._link.recv()
        if command.stop:
            raise WatchEnded
        self._wanted = wanted = command.wanted
        self._begin_record()
        assert self._record is not None
        if self._activation != self._recorded_activation:
            self._wanted, self._recorded_activation = None, self._activation  # what was reported of the epoch before
            self._between.move_to(self._record)
        self._copy_values(frame, self._record.start, self._record.start_identities, keep=True)
        self._wanted, self._begun = wanted, time.perf_counter()
        if command.channel is not None:
            self._freeze(self._channels[command.channel])

    def _begin_record(self) -> None:
        self._record, self._events = IterationRecord(self._count, self._activation, epoch=self._open_loops.epoch), 0
        kept = self._calls, self._raw_count, self._change_count, self._accumulating, self._kept, self.updates.numbers
        for one in kept:
            one.clear()

    def _finish(self, frame: FrameType) -> None:
        record = self._record
        if record is None:
            if self._rerun is None and self.replaying is None and self._count == 0:
                files = sorted({site.file for site in self._sites.known})
                self._link.send(("found", (files, bool(self._open_loops.around(self._sites[self._number], frame)))))
            return
        record.seconds = time.perf_counter() - self._begun
        self._copy_values(frame, record.end, record.identities, keep=False)
        record.restore(self._sites[self._number].targets, self._scope)
        record.end |= self.updates.finish(self._modules.values(frame))
        record.end |= self._reports.values(self._scope, frame, self._is_wanted)
        self._record = None
        if self.replaying is not None:
            self._answer(record)
        self._link.send(("record", record))

    def _answer(self, record: IterationRecord) -> None:
        """Send the record of a replay, and end it."""
        assert self._answer_on is not None
        self._answer_on.send(("answer", record))
        if self._rerun is None:
            os._exit(0)
        self.answered, self.replaying, self._record = True, None, None
        raise WatchEnded

    def _copy_values(self, frame: FrameType, values: dict[Key, Any], identities: dict[Key, int], *, keep: bool) -> None:
        """Copy the values that the frame reaches."""
        if keep:
            self._objects.clear()
        at_start = self._record is None or values is not self._record.end
        items = self._items.values(self._sites[self._number].items, frame, self._scope, at_start=at_start)
        for key, value in itertools.chain(self._modules.values(frame), items):
            if keep:
                self._objects[key] = value
            if self._is_wanted(key, value) and (copy := copy_of(value)) is not None:
                values[key], identities[key] = copy, id(value)
                if keep and self._record is not None and isinstance(value, np.ndarray):
                    self._record.memory[key] = byte_bounds(value)

    def _keep(self, kind: str, scope: str, names: dict[str, Any]) -> None:
        for name, value in itertools.islice(walk(names, frozenset()), FUNCTION_VALUES):
            self._store((kind, scope, name), value)

    def _store(self, key: Key, value: Any) -> None:
        """Keep a copy of a value inside the iteration, if it is wanted."""
        assert self._record is not None
        copy = copy_of(value) if self._is_wanted(key, value) else None
        if copy is None:
            return
        self._record.inside[key] = copy
        self._events += 1
        self._record.order[key] = self._events
        self._record.identities[key] = id(value)
        self._kept.append(value)

    def _is_wanted(self, key: Key, value: Any) -> bool:
        known = self._wanted is None or key in self._wanted
        return known if self.replaying is None else self.replaying.returns(key, value)

    def _freeze(self, channel: Connection) -> None:
        """Fork. The copy answers requests until its channel closes; the script continues in this process."""
        fork = self._fork
        if fork is None or other_threads():
            self._link.send(("frozen", False))
        elif fork():
            self._link.send(("frozen", True))
        else:
            self._link.close()  # or the doctor would not see the end of the script's process
            self._prepare(next_replay(channel, fork), channel)

    def _prepare(self, request: ReplayRequest, channel: Connection) -> None:
        """Become a replay: write the values of the request, and run to the end of the iteration."""
        self.replaying, self._answer_on = request, channel
        if self._rerun is None:  # a process of its own is ended by the doctor
            end_after(request.seconds)
            print_nothing()
        for key, value in request.pushes.items():
            write_into(self._objects[key], value)
        roll_requested(request, self._frame, self._frame, self._modules)
