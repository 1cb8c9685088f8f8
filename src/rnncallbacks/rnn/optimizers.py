r"""Optimizers, with the equations, option names and defaults of PyTorch's.

Parameters and gradients are flat buffers. A step processes them in blocks that stay in the cache, in place.

In the equations, g is the gradient, p the parameter and :math:`\eta` the learning rate; all operations are elementwise.
``weight_decay`` :math:`\lambda` adds :math:`\lambda p` to g, except in :class:`AdamW`.

Example
-------
>>> parameters, gradients = (FlatArrays({"weight": (2,)}) for _ in range(2))
>>> optimizer = SGD(momentum=0.9)
>>> optimizer.bind(parameters)
>>> gradients["weight"][:] = [1.0, -2.0]
>>> for _ in range(2):
...     optimizer.step(gradients, learning_rate=0.1)
>>> parameters["weight"]
array([-0.29,  0.58], dtype=float32)
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import attrs
import numpy as np

from rnncallbacks import options
from rnncallbacks.arrays.containers import FlatArrays, FloatArray
from rnncallbacks.errors import OptionError
from rnncallbacks.rnn.optimizer import Optimizer, ParameterBlock, decayed_gradient
from rnncallbacks.rnn.validation import check_numba


@attrs.define(eq=False, kw_only=True)
class SGD(Optimizer):
    r"""Gradient descent, optionally with momentum.

    .. math:: m \leftarrow \mu m + g, \qquad p \leftarrow p - \eta m

    With ``nesterov``, :math:`g + \mu m` replaces m in the second equation. Without momentum, m is g.

    Parameters
    ----------
    momentum:
        :math:`\mu`, at least 0 and less than 1.
    nesterov:
        Use Nesterov's momentum.
    weight_decay:
        :math:`\lambda`, 0 or more.

    Raises
    ------
    OptionError
        An option is out of range, or ``nesterov`` is used without momentum.

    Source: Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning"
    (2013), in the form of ``torch.optim.SGD``.
    """

    momentum: float = attrs.field(default=0.0, validator=options.number(at_least=0, below=1))
    nesterov: bool = attrs.field(default=False, validator=options.flag)
    weight_decay: float = attrs.field(default=0.0, validator=options.number(at_least=0))

    def __attrs_post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise OptionError("SGD: nesterov needs a momentum above 0", hint="for example momentum=0.9")

    def _state_arrays(self) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if self.momentum else {}

    def _update(self, block: ParameterBlock, gradient: FloatArray, coefficients: tuple[float, ...]) -> None:
        parameter, slots, first, second = block
        direction = decayed_gradient(gradient, parameter, self.weight_decay, first)
        if self.momentum:
            (velocity,) = slots
            np.multiply(velocity, self.momentum, velocity)
            np.add(velocity, direction, velocity)
            if self.nesterov:
                np.multiply(velocity, self.momentum, second)
                direction = np.add(direction, second, first)
            else:
                direction = velocity
        np.multiply(direction, coefficients[0], first)
        np.subtract(parameter, first, parameter)


@attrs.define(eq=False, kw_only=True)
class Adagrad(Optimizer):
    r"""Steps divided by the square root of the sum of squared gradients.

    .. math:: s \leftarrow s + g^2, \qquad p \leftarrow p - \eta \frac{g}{\sqrt{s} + \epsilon}

    Parameters
    ----------
    initial_accumulator_value:
        Initial value of s, 0 or more.
    eps:
        :math:`\epsilon`, 0 or more.
    weight_decay:
        :math:`\lambda`, 0 or more.

    Raises
    ------
    OptionError
        An option is out of range.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization"
    (2011), in the form of ``torch.optim.Adagrad``.
    """

    initial_accumulator_value: float = attrs.field(default=0.0, validator=options.number(at_least=0))
    eps: float = attrs.field(default=1e-10, validator=options.number(at_least=0))
    weight_decay: float = attrs.field(default=0.0, validator=options.number(at_least=0))

    def _state_arrays(self) -> dict[str, float]:
        return {"sum": self.initial_accumulator_value}

    def _update(self, block: ParameterBlock, gradient: FloatArray, coefficients: tuple[float, ...]) -> None:
        parameter, slots, first, second = block
        gradient = decayed_gradient(gradient, parameter, self.weight_decay, first)
        (squares,) = slots
        np.multiply(gradient, gradient, second)
        np.add(squares, second, squares)
        np.sqrt(squares, second)
        np.add(second, self.eps, second)
        np.divide(gradient, second, second)
        np.multiply(second, coefficients[0], second)
        np.subtract(parameter, second, parameter)


@attrs.define(eq=False, kw_only=True)
class RMSProp(Optimizer):
    r"""Steps divided by the square root of a moving average of squared gradients.

    .. math:: s \leftarrow \alpha s + (1 - \alpha) g^2, \qquad
              m \leftarrow \mu m + \frac{g}{\sqrt{s} + \epsilon}, \qquad p \leftarrow p - \eta m

    Parameters
    ----------
    alpha:
        :math:`\alpha`, at least 0 and less than 1.
    eps:
        :math:`\epsilon`, 0 or more.
    momentum:
        :math:`\mu`, at least 0 and less than 1.
    weight_decay:
        :math:`\lambda`, 0 or more.

    Raises
    ------
    OptionError
        An option is out of range.

    Source: Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5 (2012), in the form of
    ``torch.optim.RMSprop``.
    """

    alpha: float = attrs.field(default=0.99, validator=options.number(at_least=0, below=1))
    eps: float = attrs.field(default=1e-8, validator=options.number(at_least=0))
    momentum: float = attrs.field(default=0.0, validator=options.number(at_least=0, below=1))
    weight_decay: float = attrs.field(default=0.0, validator=options.number(at_least=0))

    def _state_arrays(self) -> dict[str, float]:
        return {"square_avg": 0.0} | ({"momentum_buffer": 0.0} if self.momentum else {})

    def _update(self, block: ParameterBlock, gradient: FloatArray, coefficients: tuple[float, ...]) -> None:
        parameter, slots, first, second = block
        gradient = decayed_gradient(gradient, parameter, self.weight_decay, first)
        squares = slots[0]
        np.multiply(gradient, gradient, second)
        np.multiply(second, 1.0 - self.alpha, second)
        np.multiply(squares, self.alpha, squares)
        np.add(squares, second, squares)
        np.sqrt(squares, second)
        np.add(second, self.eps, second)
        np.divide(gradient, second, second)
        if self.momentum:
            np.multiply(slots[1], self.momentum, slots[1])
            np.add(slots[1], second, slots[1])
            np.multiply(slots[1], coefficients[0], second)
        else:
            np.multiply(second, coefficients[0], second)
        np.subtract(parameter, second, parameter)


def _check_betas(owner: Optimizer, field: attrs.Attribute[tuple[float, float]], value: object) -> None:
    numbers = value if isinstance(value, (tuple, list)) else ()
    if len(numbers) != 2 or not all(isinstance(beta, (int, float)) and 0.0 <= beta < 1.0 for beta in numbers):
        name = f"{type(owner).__name__}: {field.name}"
        raise OptionError(f"{name}: expected two numbers, each at least 0 and less than 1, got {value!r}")


@attrs.define(eq=False, kw_only=True)
class Adam(Optimizer):
    r"""A moving average of gradients, divided by the square root of a moving average of their squares.

    .. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
              p \leftarrow p - \eta \frac{m / (1 - \beta_1^k)}{\sqrt{v / (1 - \beta_2^k)} + \epsilon}

    in step k. The arrays of the state are the sums :math:`m / (1 - \beta_1)` and :math:`v / (1 - \beta_2)`, which saves
    two passes over memory.

    Parameters
    ----------
    betas:
        :math:`\beta_1` and :math:`\beta_2`, each at least 0 and less than 1.
    eps:
        :math:`\epsilon`, 0 or more.
    weight_decay:
        :math:`\lambda`, 0 or more.
    kernels:
        ``"numpy"``, or ``"numba"`` for a single compiled pass, in float32. The results are the same up to rounding, in
        less than half of the time. Needs ``pip install 'rnncallbacks[fast]'``.

    Raises
    ------
    OptionError
        An option is out of range. From ``bind``: ``kernels="numba"`` without numba, or for another dtype than float32.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1, in the form of
    ``torch.optim.Adam``.
    """

    betas: tuple[float, float] = attrs.field(default=(0.9, 0.999), validator=_check_betas)
    eps: float = attrs.field(default=1e-8, validator=options.number(at_least=0))
    weight_decay: float = attrs.field(default=0.0, validator=options.number(at_least=0))
    kernels: Literal["numpy", "numba"] = attrs.field(default="numpy", validator=options.one_of("numpy", "numba"))

    _decoupled: ClassVar[bool] = False

    def bind(self, parameters: FlatArrays) -> None:
        """As in :class:`Optimizer`."""
        if self.kernels == "numba":
            check_numba(type(self).__name__, parameters.flat.dtype)
        super().bind(parameters)

    def _state_arrays(self) -> dict[str, float]:
        return {"gradient_sum": 0.0, "square_sum": 0.0}

    def _coefficients(self, learning_rate: float, count: int) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        # sqrt(v / (1 - beta2^k)) is root times the square root of the sum in the state.
        root = math.sqrt((1.0 - beta2) / (1.0 - beta2**count))
        size = learning_rate * (1.0 - beta1) / (1.0 - beta1**count)
        return size / root, self.eps / root, 1.0 - learning_rate * self.weight_decay

    def _update(self, block: ParameterBlock, gradient: FloatArray, coefficients: tuple[float, ...]) -> None:
        parameter, slots, first, second = block
        size, eps, kept = coefficients
        if self.kernels == "numba":
            # Imports numba, which takes time and is optional.
            from rnncallbacks.rnn.kernels.training_kernels import adam

            # With integers, the kernel would be compiled again.
            betas = (float(self.betas[0]), float(self.betas[1]))
            decay = (0.0, kept) if self._decoupled else (float(self.weight_decay), 1.0)
            adam(parameter, gradient, slots[0], slots[1], betas, (size, eps), decay)
            return
        if self._decoupled:
            np.multiply(parameter, kept, parameter)
        else:
            gradient = decayed_gradient(gradient, parameter, self.weight_decay, first)
        sums, squares = slots
        np.multiply(sums, self.betas[0], sums)
        np.add(sums, gradient, sums)
        np.multiply(gradient, gradient, second)
        np.multiply(squares, self.betas[1], squares)
        np.add(squares, second, squares)
        np.sqrt(squares, second)
        np.add(second, eps, second)
        np.divide(sums, second, second)
        np.multiply(second, size, second)
        np.subtract(parameter, second, parameter)


@attrs.define(eq=False, kw_only=True)
class AdamW(Adam):
    r"""Adam with decoupled weight decay, which is not part of the averages.

    Before each step, :math:`p \leftarrow (1 - \eta \lambda) p`.

    Parameters
    ----------
    betas, eps, kernels:
        As in :class:`Adam`.
    weight_decay:
        :math:`\lambda`, 0 or more.

    Raises
    ------
    OptionError
        An option is out of range.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), in the form of ``torch.optim.AdamW``.
    """

    weight_decay: float = attrs.field(default=0.01, validator=options.number(at_least=0))

    _decoupled: ClassVar[bool] = True
