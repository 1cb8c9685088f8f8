"""The generators, arrays and objects of a script that checkpoints save besides parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rnncallbacks.core.arguments import describe
from rnncallbacks.core.object_state import has_state, is_generator, is_savable, set_state, state_of
from rnncallbacks.errors import CheckpointError, OptionError, one_line


class ScriptState:
    """The generators of ``Run(rng=...)`` and the objects of ``Run(state=...)``, by name.

    Parameters
    ----------
    rng:
        A random number generator, or a dict or list of them. None: the script names none.
    state:
        A dict or list of generators, arrays and objects with ``state_dict`` and ``load_state_dict``, nested to any
        depth, or one of these. None: the script names none.

    Attributes
    ----------
    given:
        Whether the script gave one of them, be it empty.

    Raises
    ------
    OptionError
        One of them is of another kind.

    Example
    -------
    >>> import numpy as np
    >>> rng, hidden = np.random.default_rng(0), np.zeros(2)
    >>> script = ScriptState(rng, {"hidden": hidden})
    >>> saved = script.capture()
    >>> drawn, hidden[...] = rng.random(), 5.0
    >>> script.restore(saved)
    >>> drawn == rng.random(), hidden
    (True, array([0., 0.]))
    """

    def __init__(self, rng: Any = None, state: Any = None) -> None:
        self.given = rng is not None or state is not None
        self._objects: dict[str, Any] = {}
        for name, one in _leaves("rng", rng):
            if not is_generator(one):
                raise OptionError(
                    f"Run: expected {name} to be a random number generator, got {describe(one)}",
                    hint="pass np.random.default_rng(seed), np.random itself, or a list of generators",
                )
            self._objects[name] = one
        for name, one in _leaves("state", state):
            if not has_state(one):
                raise OptionError(
                    f"Run: expected {name} to be a generator, an array or an object with state_dict and "
                    f"load_state_dict, got {describe(one)}",
                    hint="put a number into an array, np.array(number), and change the array in place",
                )
            if isinstance(one, np.ndarray) and not (is_savable(one) and one.flags.writeable):
                kind = (
                    f"a read-only array of {one.dtype}" if is_savable(one) else f"{type(one).__name__} of {one.dtype}"
                )
                raise OptionError(
                    f"Run: expected {name} to be an array that can be written to, of integers, truth values or "
                    f"floating numbers of at most 64 bits, got {kind}",
                    hint="checkpoints save it, and a run that resumes writes into it",
                )
            self._objects[name] = one

    def capture(self) -> dict[str, Any]:
        """A copy of the state of each object."""
        return {name: state_of(one) for name, one in self._objects.items()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore each object to its state in ``saved``: all of them, or none.

        Raises
        ------
        CheckpointError
            Other names than those of this run, or a state that an object does not accept.
        """
        if saved.keys() != self._objects.keys():
            raise CheckpointError(
                f"rng= and state= of this run have {_listed(self._objects)}, the file has {_listed(saved)}",
                hint="give Run the generators and objects with which the checkpoint was saved",
            )
        before = self.capture()
        for name, one in self._objects.items():
            try:
                set_state(one, saved[name])
            except Exception as error:
                for known, state in before.items():
                    set_state(self._objects[known], state)
                raise CheckpointError(f"{name} does not accept the state in the file: {one_line(error)}") from error


def _leaves(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if value is None:
        return
    if has_state(value):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _leaves(f"{name}[{key!r}]", one)
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _leaves(f"{name}[{index}]", one)
    else:
        yield name, value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
