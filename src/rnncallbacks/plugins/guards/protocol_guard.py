"""Guard: parameters change after run.backward, in training batches, and at no other time."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

import attrs

from rnncallbacks.arrays import fingerprint
from rnncallbacks.bases.guard import Guard
from rnncallbacks.core.hookspecs import hookimpl
from rnncallbacks.core.plugin_state import state_field
from rnncallbacks.detectors.finding import Finding
from rnncallbacks.errors import ContainerError

if TYPE_CHECKING:
    from rnncallbacks.alarms.catalogue import Severity
    from rnncallbacks.core.batch import Batch
    from rnncallbacks.core.run import Run

TRAIN = "train"

EACH = 10
"""So many batches of a phase are looked at one by one, and then two in a row of each ``PERIOD``."""

PERIOD = 100

WANTED = 3
"""Batches in a row in which the same thing is wrong."""

WITHOUT = 20
"""Training batches without run.backward that are enough: gradients may be collected over some before they are given."""


@attrs.define(eq=False)
class _Open:
    """The open batch of a phase, and fingerprints of the parameters: as it began, and when run.backward was called."""

    due: bool
    first: bool = False
    began: bytes | None = None
    given: bytes | None = None
    backward: bool = False


@attrs.define(eq=False)
class _Window:
    """When parameters changed, in so many batches: between two, before run.backward, after it, or without one.

    ``origin`` is the fingerprint with which the first of these batches began.
    """

    origin: bytes | None = None
    batches: int = 0
    between: int = 0
    before: int = 0
    after: int = 0
    without: int = 0


@attrs.define(eq=False, kw_only=True, on_setattr=attrs.setters.NO_OP)
class ProtocolGuard(Guard):
    """Watches when the parameters change: after run.backward in a training batch, and at no other time.

    RNN701 is one of these, in several batches in a row:

    - parameters change before run.backward and never after it, from the first batch on: plugins see the gradients when
      the update is done, too late to clip or to stop it;
    - parameters change between two batches, within the loader, and never after run.backward;
    - parameters change in batches of another phase than "train": the network trains on its validation data;
    - parameters change in training batches that give no gradients, or no training batch gives any. A loss given with
      run.record, and no change to be seen, make that a note.

    Changes that come with a repair do not count, nor does a batch here and there without gradients: loops leave batches
    out, and collect gradients over several. The parameters are those of ``Run(params)``, of which sums of squares and a
    few entries are compared.

    Options
    -------
    action:
        "warn" goes on, "stop" ends the run, "raise" ends it with an error, "repair" asks ``self_repair`` for a remedy.

    Example
    -------
    >>> ProtocolGuard(action="raise")
    ProtocolGuard(action='raise')
    """

    codes: ClassVar[tuple[str, ...]] = ("RNN701",)

    # A run that resumes finds all of it out again: a checkpoint need not keep it.
    _open: dict[str, _Open] = state_field(factory=dict, saved=False)
    _counts: dict[str, int] = state_field(factory=dict, saved=False)
    _windows: dict[str, _Window] = state_field(factory=dict, saved=False)
    _told: set[str] = state_field(factory=set, saved=False)
    _ended: bytes | None = state_field(None, saved=False)
    _first_was_before: bool = state_field(False)
    _ever: bool = state_field(False)
    _recorded: int = state_field(0)
    _silent: int = state_field(0)
    _repairs: int = state_field(0)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        for known in (self._open, self._counts, self._windows, self._told):
            known.clear()
        self._ended, self._first_was_before, self._ever = None, False, False
        self._recorded = self._silent = 0
        self._repairs = len(run.diagnosis.repairs)

    @hookimpl
    def on_epoch_start(self) -> None:
        self._told.clear()
        self._ended = None

    @hookimpl(wrapper=True)
    def on_batch_start(self, run: Run, batch: Batch) -> Generator[None]:
        """Around all other plugins, so that what they change is told from what the loader changes, and the script."""
        name = batch.phase
        count = self._counts[name] = self._counts.get(name, 0) + 1
        due = count <= EACH or count % PERIOD < 2
        if not due and self._ever:  # nothing to be seen in this one
            if name == TRAIN:
                self._ended = None
            return (yield)
        opened = self._open[name] = _Open(due=due, first=count == 1)
        if opened.due and name == TRAIN and self._ended is not None:
            window = self._windows.setdefault(name, _Window())
            window.between += self._print(run) != self._ended
        yield
        if opened.due:
            opened.began = self._print(run)

    @hookimpl(tryfirst=True)
    def on_backward(self, run: Run, batch: Batch) -> None:
        opened = self._open.get(batch.phase)
        if opened is None:
            return
        self._ever = opened.backward = True
        if opened.due:
            opened.given = self._print(run)

    @hookimpl(trylast=True)
    def on_batch_end(self, run: Run, batch: Batch) -> None:
        opened = self._open.pop(batch.phase, None)
        if opened is None:
            return
        if batch.phase == TRAIN and not opened.backward and not batch.skipped:
            self._recorded += batch.loss is not None
            self._silent += batch.loss is None
            if not self._ever and self._recorded + self._silent == WITHOUT:
                self._tell_missing(run)
        if not opened.due or opened.began is None:
            if batch.phase == TRAIN:
                self._ended = None
            return
        ended = self._print(run)
        window = self._windows.setdefault(batch.phase, _Window())
        if len(run.diagnosis.repairs) > self._repairs:
            self._repairs = len(run.diagnosis.repairs)
            self._windows.clear()
        elif batch.phase == TRAIN:
            self._look_at_training(run, batch, opened, ended, window)
        else:
            window.origin = window.origin or opened.began
            window.batches += 1
            window.after += ended != opened.began
            # Weights that are swapped for the validation are soon back: then nothing was trained.
            if window.batches == WANTED - 1 and ended != window.origin:
                self._tell_validation(run, batch.phase, window)
        self._ended = ended if batch.phase == TRAIN else self._ended

    @hookimpl
    def on_epoch_end(self, run: Run) -> None:
        if run.params is None:
            run.diagnosis.cannot_check("RNN701", "pass the parameters: Run(params, ...)")
        for name, window in list(self._windows.items()):
            if name != TRAIN and window.batches:
                if self._print(run) != window.origin:
                    self._tell_validation(run, name, window)
                self._windows.pop(name, None)
        if not self._ever and self._recorded + self._silent > 1:
            self._tell_missing(run)

    def _look_at_training(self, run: Run, batch: Batch, opened: _Open, ended: bytes | None, window: _Window) -> None:
        if opened.given is None:
            window.without += ended != opened.began and not batch.skipped
            if window.without >= WANTED:
                message = f"parameters changed in {window.without} training batches that did not call run.backward"
                self._tell(run, "without", f"{message}: no plugin saw these gradients", {"changed": window.without})
            return
        window.batches += 1
        before, after = opened.given != opened.began, ended != opened.given
        window.before += before
        window.after += after
        if opened.first:
            self._first_was_before = before and not after
        if window.batches < WANTED:
            return
        run.diagnosis.check("RNN701")
        evidence = {
            "batches": window.batches,
            "changed_before_backward": window.before,
            "changed_after_backward": window.after,
            "changed_between_batches": window.between,
        }
        if window.after == 0 and window.before == window.batches and self._first_was_before:
            message = (
                f"in {window.before} of {window.batches} training batches the parameters changed before run.backward"
            )
            self._tell(run, "before", f"{message}, in none after it: plugins see the gradients too late", evidence)
        elif window.after == window.before == 0 and window.between >= WANTED:
            message = (
                f"the parameters changed between training batches, {window.between} times, never after run.backward"
            )
            self._tell(run, "between", f"{message}: the loader itself updates them", evidence)
        self._windows[TRAIN] = _Window()

    def _tell_validation(self, run: Run, phase: str, window: _Window) -> None:
        if window.after == window.batches:
            message = f"the parameters changed in {window.after} of {window.batches} batches of {phase}"
            evidence = {"batches": window.batches, "changed": window.after}
            self._tell(run, phase, f"{message}: only the phase {TRAIN!r} may update them", evidence)

    def _tell_missing(self, run: Run) -> None:
        severity: Severity | None = "info" if self._silent == 0 else None
        count = self._recorded + self._silent
        self._recorded = self._silent = 0
        if "without" not in self._told:
            message = f"none of {count} training batches called run.backward: no plugin sees a gradient"
            self._tell(run, "missing", message, {"batches": count, "with_backward": 0}, severity)

    def _tell(
        self, run: Run, what: str, message: str, evidence: dict[str, int], severity: Severity | None = None
    ) -> None:
        """Fire, for each kind of finding once an epoch."""
        self._windows.clear()
        if what not in self._told:
            self._told.add(what)
            self.fire(run, Finding("RNN701", message, evidence, severity))

    @staticmethod
    def _print(run: Run) -> bytes | None:
        try:
            return None if run.params is None else fingerprint(run.params)
        except ContainerError:
            return None
