"""Stochastic weight averaging: a run ends with the mean of the parameters of its last epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from rnncallbacks import hookimpl, options
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.bases import state_field
from rnncallbacks.errors import RunStateError

if TYPE_CHECKING:
    from rnncallbacks import Run


@attrs.define(eq=False, kw_only=True)
class Swa:
    r"""Averages the parameters at the end of each epoch from ``start`` on, and ends the run with the mean.

    .. math:: \bar w_n = \bar w_{n-1} + (w_n - \bar w_{n-1}) / n

    The column ``swa_epochs`` has the number of epochs in the mean. After an error the parameters are left as they are.

    Options
    -------
    start:
        The first epoch that is averaged, 1 or more.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (2018).

    Example
    -------
    >>> Swa(start=10)
    Swa(start=10)
    """

    start: int = attrs.field(default=1, validator=options.count())
    _means: dict[str, np.ndarray[Any, Any]] = state_field(factory=dict)
    _epochs: int = state_field(0)
    _failed: bool = state_field(False, saved=False)

    @hookimpl
    def on_fit_start(self, run: Run) -> None:
        if run.params is None:
            raise RunStateError("swa: expected a run with parameters, got none", hint="pass them: Run(params)")

    @hookimpl(tryfirst=True)
    def on_epoch_end(self, run: Run) -> None:
        if run.epoch < self.start:
            return
        self._epochs += 1
        for name, array in named_arrays(run.params).items():
            mean = self._means.setdefault(name, np.zeros(array.shape))
            mean += (array - mean) / self._epochs
        run.log(swa_epochs=self._epochs)

    @hookimpl
    def on_exception(self) -> None:
        self._failed = True

    @hookimpl
    def on_fit_end(self, run: Run) -> None:
        if not self._failed and self._epochs:
            for name, array in named_arrays(run.params).items():
                array[...] = self._means[name]
