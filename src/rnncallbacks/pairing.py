"""Which gradient belongs to which parameter, where a script keeps the two in containers of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rnncallbacks.arrays import Array


def parameters_of(gradients: Mapping[str, Array], params: Mapping[str, Array]) -> dict[str, Array]:
    """The parameter of each gradient, by the gradient's name; gradients whose parameter is in doubt are left out.

    A pair has one shape, and one name (``Wxh``), or a name with something added to it (``dWxh``, ``Wxh_grad``), or a
    shape that no other array has.

    Example
    -------
    >>> import numpy as np
    >>> w, b = np.ones((2, 3)), np.ones(3)
    >>> pairs = parameters_of({"dw": w, "1": b}, {"w": w, "b": b})
    >>> pairs["dw"] is w, pairs["1"] is b
    (True, True)
    """
    if all(name in params and params[name].shape == gradient.shape for name, gradient in gradients.items()):
        return {name: params[name] for name in gradients}
    pairs: dict[str, Array] = {}
    shapes = Counter(array.shape for array in gradients.values())
    param_shapes = Counter(array.shape for array in params.values())
    for name, gradient in gradients.items():
        alike = [known for known, array in params.items() if known and array.shape == gradient.shape]
        if name in alike:
            pairs[name] = params[name]
            continue
        named = [known for known in alike if name.startswith(known) or name.endswith(known)]
        longest = max(map(len, named), default=0)
        fitting = [known for known in named if len(known) == longest]
        if len(fitting) == 1 and not fitting[0].isdecimal():
            pairs[name] = params[fitting[0]]
        elif shapes[gradient.shape] == param_shapes[gradient.shape] == 1:
            pairs[name] = next(array for array in params.values() if array.shape == gradient.shape)
    taken = Counter(map(id, pairs.values()))
    return {name: array for name, array in pairs.items() if taken[id(array)] == 1}
