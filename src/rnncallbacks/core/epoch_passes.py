"""The passes over loaders in the open epoch: their positions, and how a resumed run returns to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rnncallbacks.core.batch import EpochSummary
from rnncallbacks.core.loader_pass import LoaderPass
from rnncallbacks.core.object_state import has_state_dict, state_of
from rnncallbacks.core.position import PassPosition, Position
from rnncallbacks.core.script_state import ScriptState
from rnncallbacks.errors import RunStateError


class EpochPasses:
    """The passes of the open epoch, and the state of the script's objects at the points where a run can resume.

    A resumed run executes the body of the open epoch again. Passes that were over yield nothing, and the one that was
    open begins after its last batch. The script's generators and objects are first as they were where the epoch began,
    and after each pass as they were then, so that what the script draws between passes is drawn again.

    Parameters
    ----------
    script:
        The script's generators and objects.

    Attributes
    ----------
    in_epoch:
        Whether the script is in the body of an epoch.
    stopped_at:
        The position at which the run was stopped there, or None. It remains until the next epoch begins.
    cut_inside:
        Whether the run was stopped inside the body of a batch, which did less than it would have done.
    """

    def __init__(self, script: ScriptState) -> None:
        self.script = script
        self.in_epoch = False
        self.stopped_at: Position | None = None
        self.cut_inside = False
        self._left_out = False
        self._passes: list[LoaderPass] = []
        self._resumed: list[PassPosition] = []
        self._state: dict[str, Any] = {}
        self._loaders: dict[str, Any] = {}
        self._saved_loaders: dict[str, Any] = {}

    def resume(self, position: Position) -> None:
        """Take over the state of loaders, which they get when their first pass begins."""
        self._saved_loaders = dict(position.loaders)

    def begin_epoch(self, resumed: Position | None = None) -> None:
        """Begin an epoch, or the rest of the epoch that was open at the position ``resumed``."""
        self.in_epoch, self.stopped_at, self._left_out = True, None, False
        self._passes = []
        self._resumed = [] if resumed is None else list(resumed.passes)
        self._state = self.script.capture()

    def begin(self, loader: Iterable[Any], phase: str, epoch: int, *, nested: bool) -> LoaderPass:
        """Begin a pass; ``nested``: it is inside a batch of another.

        Raises
        ------
        RunStateError
            The resumed epoch began with passes over other phases.
        CheckpointError
            An object does not accept its state.
        """
        saved = self._saved_loaders.pop(phase, None)
        at = self._resumed.pop(0) if self._resumed and not nested else None
        if at is not None and at.phase != phase:
            raise RunStateError(
                f"run.batches: pass {len(self._passes) + 1} of epoch {epoch} had the phase {at.phase!r} when the "
                f"checkpoint was saved, and has {phase!r} now",
                hint="resume with the loop that saved the checkpoint, or start from the beginning",
            )
        items = LoaderPass(loader, phase, epoch, done=at, loader_state=saved)
        if has_state_dict(loader):
            self._loaders[phase] = loader
        if not nested:
            self._passes.append(items)
        if at is not None:
            self.script.restore(at.state)
            items.finished = at.finished
        return items

    def end(self, items: LoaderPass, *, stopped: bool) -> None:
        """End a pass; it is finished unless the run was stopped and the loader may have further batches."""
        finished = items.is_at_its_end or not stopped
        self._left_out |= not finished
        if items not in self._passes:
            self.cut_inside |= not finished
        else:
            items.finished, items.state = finished, self.script.capture()

    def refuse(self, *, nested: bool) -> None:
        """Note a pass that does not begin, because the run was stopped; ``nested`` as in :meth:`begin`."""
        self._left_out = True
        self.cut_inside |= nested

    def end_epoch(self) -> None:
        """End the body of the epoch. If a stop of the run left out none of its batches, the epoch is whole."""
        self.in_epoch = False  # a plugin that stops the run now does so after the epoch
        if not self._left_out and not self.cut_inside:
            self.stopped_at = None

    def reopen_left(self) -> bool:
        """Take the last pass for one that is not finished if the script left it; return whether it did."""
        if not self._passes or not self._passes[-1].left or self._passes[-1].has_yielded_all:
            return False
        self._passes[-1].finished = False
        self._left_out = True
        return True

    def position(self, summary: EpochSummary | None) -> Position:
        """The position after the last batch that ended; ``summary`` is that of the open epoch, or None."""
        loaders = self._saved_loaders | {phase: state_of(loader) for phase, loader in self._loaders.items()}
        if summary is None:
            return Position(in_epoch=False, state=self.script.capture(), loaders=loaders)
        passes = [
            PassPosition(
                phase=one.phase,
                batches=one.index,
                finished=one.finished,
                state=self.script.capture() if one.state is None else one.state,
            )
            for one in self._passes
        ]
        return Position(
            in_epoch=True,
            passes=passes,
            state=self._state,
            loaders=loaders,
            losses=dict(summary.losses),
            logged=dict(summary.logged),
            batches=dict(summary.batches),
            seconds=summary.elapsed,
        )
