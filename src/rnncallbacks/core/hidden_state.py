"""The hidden state between batches: carried, marked for a reset, returned for the next forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rnncallbacks.arrays.containers import Array, map_arrays, named_arrays
from rnncallbacks.arrays.dlpack import with_views
from rnncallbacks.core.arguments import as_count, describe
from rnncallbacks.errors import ContainerError, OptionError, RunStateError, ShapeError

Zeros = Callable[[int], Any]


class HiddenState:
    """The state of one phase: the state carried from the last batch, or zeros where a reset is due.

    A reset only marks the state. The zeros are made by :meth:`enter`, which knows the batch size. A state is an array
    or a container of arrays, such as an LSTM's ``(h, c)``.

    Attributes
    ----------
    carried:
        The state carried from the last batch, or None.
    """

    def __init__(self, zeros: Zeros | None) -> None:
        self._zeros = zeros
        self.carried: Any = None
        self._due: npt.NDArray[np.bool_] | None = None
        self._expected: tuple[int, dict[str, tuple[int, ...]]] | None = None

    def enter(self, batch_size: int) -> Any:
        """The state with which a batch of ``batch_size`` sequences enters the forward pass.

        Raises
        ------
        RunStateError
            The run knows no shape for the state.
        ContainerError, ShapeError
            The carried state has another structure or batch size than a zero state.
        """
        if self._zeros is None:
            raise RunStateError(
                "run.hidden: the run does not know the shape of the state",
                hint="pass hidden_size= to Run, or zeros= a function from the batch size to a zero state",
            )
        if self.carried is None:
            return with_views(self._zeros(batch_size), "zeros(batch_size)")
        carried, expected = named_arrays(self.carried, "state"), self._shapes(batch_size)
        if expected.keys() != carried.keys():
            raise ContainerError(
                f"run.hidden: the carried state has {_arrays(carried)}, but a zero state has {_arrays(expected)}",
                hint="give run.carry a state of the structure that hidden_size= or zeros= makes",
            )
        for name, array in carried.items():
            if expected[name] != array.shape:
                raise ShapeError(
                    f"run.hidden: the carried state has shape {array.shape}, but batch size {batch_size} "
                    f"needs {expected[name]}",
                    hint="reset the state (hidden_state_reset), or keep the batch size, dropping a short last batch",
                )
        if self._due is not None:
            fresh = named_arrays(self._zeros(batch_size), "zeros(batch_size)")
            self.carried = self._reset_rows(carried, fresh, self._due)
            self._due = None
        return map_arrays(np.ndarray.copy, self.carried)  # the script may change the array that it gets

    def carry(self, state: Any) -> None:
        """Keep a copy of ``state`` for the next batch.

        Raises
        ------
        ContainerError
            The state holds no array.
        """
        if not named_arrays(state, "state"):
            raise ContainerError("run.carry: expected a state of at least one array, got none")
        self._due = None
        self.carried = map_arrays(np.ndarray.copy, with_views(state, "state"))

    def reset(self, rows: npt.NDArray[np.bool_] | None = None) -> None:
        """Mark the whole state for a reset, or only the sequences where ``rows`` is true."""
        if rows is None:
            self.carried = self._due = None
        elif self.carried is not None:
            if self._due is not None and self._due.shape != rows.shape:
                raise ShapeError(f"run.reset_hidden: expected a mask of shape {self._due.shape}, got {rows.shape}")
            self._due = rows if self._due is None else self._due | rows

    def _shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """The shapes of a zero state; they are computed again only for a new batch size."""
        assert self._zeros is not None
        if self._expected is None or self._expected[0] != batch_size:
            fresh = named_arrays(self._zeros(batch_size), "zeros(batch_size)")
            self._expected = batch_size, {name: array.shape for name, array in fresh.items()}
        return self._expected[1]

    def _reset_rows(self, carried: dict[str, Array], fresh: dict[str, Array], rows: npt.NDArray[np.bool_]) -> Any:
        assert self._zeros is not None
        axes = batch_axes(self._zeros)
        replaced = {}
        for name, array in carried.items():
            axis = axes[name]
            if rows.shape != (array.shape[axis],):
                raise ShapeError(
                    f"run.reset_hidden: the mask has shape {rows.shape}, but the state {array.shape} has "
                    f"{array.shape[axis]} sequences on axis {axis}",
                    hint="give one truth value for each sequence of the batch",
                )
            along = rows.reshape([-1 if dimension == axis else 1 for dimension in range(array.ndim)])
            replaced[id(array)] = partly = array.copy()
            np.copyto(partly, fresh[name], where=along, casting="same_kind")
        return map_arrays(lambda array: replaced[id(array)], self.carried)

    @property
    def saved(self) -> dict[str, Any]:
        """The state that checkpoints save: the carried state and the mask of sequences to reset, or None for each."""
        return {"carried": self.carried, "due": self._due}

    @saved.setter
    def saved(self, saved: Mapping[str, Any]) -> None:
        self.carried, self._due = saved["carried"], saved["due"]


class HiddenStates:
    """The states of a run, one for each phase, so that validation never leaks into training.

    Parameters
    ----------
    zeros:
        A function from the batch size to a zero state, or None.
    reset:
        A function without arguments that sets a state inside a model object to zero, or None.

    Attributes
    ----------
    collect:
        A function that returns the states to save of all processes, or None.

    Raises
    ------
    OptionError
        One of them is not a function.
    """

    def __init__(self, zeros: Zeros | None, reset: Callable[[], object] | None) -> None:
        for name, given in (("zeros", zeros), ("reset", reset)):
            if given is not None and not callable(given):
                raise OptionError(
                    f"Run: expected {name} to be a function, got {describe(given)}", hint="pass it without calling it"
                )
        self._zeros = zeros
        self._reset = reset
        self._phases: dict[str, HiddenState] = {}
        self.collect: Callable[[], dict[str, dict[str, Any]]] | None = None

    def __getitem__(self, phase: str) -> HiddenState:
        if phase not in self._phases:
            self._phases[phase] = HiddenState(self._zeros)
        return self._phases[phase]

    def reset(self, phase: str, rows: npt.ArrayLike | None) -> None:
        """Reset the state of a phase, or only the sequences where ``rows`` is true.

        Raises
        ------
        OptionError
            ``rows`` does not hold truth values.
        RunStateError
            There is no state to reset, or ``reset=`` would have to reset some sequences only.
        """
        if rows is None and self._reset is None and self._zeros is not None:
            self[phase].reset()  # in every batch of a script whose loader does not say which sequences begin
            return
        mask = None if rows is None else np.asarray(rows)
        if mask is not None and mask.dtype != bool:
            raise OptionError(
                f"run.reset_hidden: expected one truth value for each sequence, got {mask.dtype} values",
                hint="turn positions into a mask: rows = np.isin(np.arange(batch_size), positions)",
            )
        if mask is not None and mask.all():
            mask = None
        if self._reset is not None:
            if mask is None:
                self._reset()
            elif mask.any():
                raise RunStateError(
                    f"{int(mask.sum())} of {mask.size} sequences begin here, but reset= resets all of them",
                    hint="use run.hidden and run.carry, which reset single rows, or hidden_state_reset(when='batch')",
                )
        else:
            self.require()
        self[phase].reset(mask)

    def require(self) -> None:
        """Check that there is a state to reset.

        Raises
        ------
        RunStateError
            The run knows neither the shape of a state nor a function that resets it.
        """
        if self._zeros is None and self._reset is None:
            raise RunStateError(
                "the run has no hidden state to reset",
                hint="pass hidden_size=, zeros= or reset= to Run, or leave hidden_state_reset out",
            )

    def carried(self) -> dict[str, Any]:
        """The carried state of each phase, or None where nothing is carried."""
        return {phase: state.carried for phase, state in self._phases.items()}

    def saved(self) -> dict[str, dict[str, Any]]:
        """The state of each phase that checkpoints save: the carried state and the mask of the sequences to reset."""
        return {phase: state.saved for phase, state in self._phases.items()} if self.collect is None else self.collect()

    def axes(self) -> dict[str, int]:
        """The batch axis of each array of a state, by its path; empty if the run does not know the shape of a state."""
        return {} if self._zeros is None else batch_axes(self._zeros)

    def restore(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Set the states of the phases in ``saved``."""
        for phase, state in saved.items():
            self[phase].saved = state


def zeros_of(hidden_size: int, params: Any) -> Zeros:
    """A function from the batch size to zeros of shape ``(hidden_size, batch_size)``, in the parameters' dtype."""
    size = as_count(hidden_size, "Run", "hidden_size")
    arrays = named_arrays(params, "params").values()
    dtype = next((array.dtype for array in arrays if np.issubdtype(array.dtype, np.floating)), np.dtype(float))
    return lambda batch_size: np.zeros((size, batch_size), dtype=dtype)


def batch_axes(zeros: Zeros) -> dict[str, int]:
    """The batch axis of each array of a state, by its path: the only axis on which zeros(1) and zeros(2) differ.

    Raises
    ------
    ShapeError
        An array has no such axis, or several.

    Example
    -------
    >>> batch_axes(lambda batch_size: (np.zeros((3, batch_size)), np.zeros((batch_size, 3))))
    {'0': 1, '1': 0}
    """
    one, two = named_arrays(zeros(1), "zeros(1)"), named_arrays(zeros(2), "zeros(2)")
    axes = {}
    for name, array in one.items():
        differing = [axis for axis, (a, b) in enumerate(zip(array.shape, two[name].shape, strict=False)) if a != b]
        if len(differing) != 1 or array.ndim != two[name].ndim:
            raise ShapeError(
                f"zeros: expected the batch size on exactly one axis; zeros(1) has shape {array.shape}, "
                f"zeros(2) {two[name].shape}",
                hint="return an array with one axis of length batch_size",
            )
        axes[name] = differing[0]
    return axes


def _arrays(named: Mapping[str, object]) -> str:
    return "one array" if list(named) == [""] else f"the arrays {', '.join(map(repr, named))}"
