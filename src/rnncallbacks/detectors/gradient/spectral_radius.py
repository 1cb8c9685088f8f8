r"""The spectral radius of recurrent weights: the factor by which they multiply states and gradients in a time step."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from rnncallbacks.alarms.finding import CheckResult, Finding
from rnncallbacks.arrays.containers import Array
from rnncallbacks.arrays.gradients import global_norm
from rnncallbacks.detectors.loss.layer_shapes import GATE_COUNTS
from rnncallbacks.detectors.update.metrics import has_initial_biases


@attrs.frozen(kw_only=True)
class SpectralRadiusThresholds:
    """The matrices that are examined, the steps of the estimate, and the radius that raises a doubt."""

    doubtful: float = 2.5
    """Spectral radius of initial recurrent weights, above which gradients of usual length do not prove that nothing
    explodes: 1 for orthogonal and Gaussian weights of variance 1 / H, 5/3 for those that are scaled for tanh."""
    large: float = 8.0
    """Smallest spectral radius of all recurrent weights before any training that is reported: states of size 1 make
    sums of 8, where tanh and sigmoids are saturated. Chosen by eye; a GRU with weights 30 times too large has 18."""
    smallest_matrix: int = 4
    """Fewest units of a recurrent matrix. Chosen by eye."""
    steps: int = 48
    """Multiplications of the estimate; its growth is measured over the second half. Chosen by eye, for its cost."""
    vectors: int = 4
    """Random vectors of the estimate."""


SPECTRAL_RADIUS = SpectralRadiusThresholds()


def recurrent_radius(params: Mapping[str, Array]) -> tuple[str, float]:
    r"""The array with the recurrent matrix of the largest spectral radius, and the radius; an empty name and 0 if none.

    Estimated by :math:`(\lVert W^{2k} x \rVert / \lVert W^k x \rVert)^{1/k}`, which takes less time than eigenvalues.

    Example
    -------
    >>> name, radius = recurrent_radius({"Wx": np.ones((4, 3)), "Wh": 2.0 * np.eye(4)})
    >>> name, round(radius, 6)
    ('Wh', 2.0)
    """
    return max([("", 0.0), *_radii(params).items()], key=lambda one: one[1])


def large_recurrent_weights(params: Mapping[str, Array]) -> Finding | None:
    """RNN303 if a network that was not trained before has large recurrent weights, in all arrays that may be some.

    Example
    -------
    >>> params = {"Wx": np.ones((4, 3)), "Wh": 20.0 * np.eye(4), "b": np.zeros(4)}
    >>> large_recurrent_weights(params).evidence
    {'array': 'Wh', 'spectral_radius': 20.0, 'expected': 1.0}
    """
    radii = _radii(params)
    name, radius = min(radii.items(), key=lambda one: one[1], default=("", 0.0))
    if radius < SPECTRAL_RADIUS.large or not has_initial_biases(params.values()):
        return None
    radius = float(f"{radius:.3g}")
    return Finding(
        "RNN303",
        f"{large_radius(name, radius)}; states saturate the units of the next step, and gradients explode or vanish",
        {"array": name, "spectral_radius": radius, "expected": 1.0},
        remedy=f"draw orthogonal recurrent weights, or divide {name!r} by about {radius:.2g}",
    )


def _radii(params: Mapping[str, Array]) -> dict[str, float]:
    """The largest spectral radius of the matrices in each array that may be recurrent weights."""
    radii: dict[str, float] = {}
    for name, array in params.items():
        for matrix in recurrent_matrices(array):
            if len(matrix) >= SPECTRAL_RADIUS.smallest_matrix and np.isfinite(matrix).all():
                radii[name] = max(radii.get(name, 0.0), _radius_of(matrix))
    return radii


def recurrent_matrices(array: Array) -> list[Array]:
    """The square matrices in an array that may be recurrent weights: itself, or one for each gate of a cell.

    Example
    -------
    >>> [len(recurrent_matrices(np.zeros(shape))) for shape in ((8, 8), (3, 8, 8), (8, 32), (24, 8), (8, 5))]
    [1, 3, 4, 3, 0]
    """
    if array.dtype.kind != "f" or array.ndim not in (2, 3) or not array.size:
        return []
    if array.ndim == 3:
        return list(array) if array.shape[1] == array.shape[2] and len(array) in (2, *GATE_COUNTS) else []
    gates, rest = divmod(max(array.shape), min(array.shape))
    if rest or gates not in (1, 2, *GATE_COUNTS):
        return []
    return np.split(array, gates, axis=int(np.argmax(array.shape)))


def large_radius(name: str, radius: float) -> str:
    """A doubtful radius in words."""
    return f"the recurrent weights in {name!r} have the spectral radius {radius:.3g}, 1 is usual"


def without_recurrent_weights(result: CheckResult, params: Mapping[str, Array]) -> CheckResult:
    """The result of a first loss without a passed RNN303, if the recurrent weights are large.

    The first loss shows the scale of the output weights alone.

    Example
    -------
    >>> passed = CheckResult(checked={"RNN303": "the first loss is ln 36"})
    >>> list(without_recurrent_weights(passed, {"W": 4.0 * np.eye(8)}).cannot_tell)
    ['RNN303']
    """
    name, radius = recurrent_radius(params)
    if radius < SPECTRAL_RADIUS.doubtful:
        return result
    checked = {code: compared for code, compared in result.checked.items() if code != "RNN303"}
    reason = {"RNN303": large_radius(name, radius)}
    return attrs.evolve(result, checked=checked, cannot_tell={**result.cannot_tell, **reason})


def _radius_of(matrix: Array) -> float:
    half, scale = SPECTRAL_RADIUS.steps // 2, global_norm([matrix])
    if not scale:
        return 0.0
    matrix = np.divide(matrix, scale, dtype=np.float64)  # its powers do not overflow
    x = np.random.default_rng(0).standard_normal((len(matrix), SPECTRAL_RADIUS.vectors))
    for _ in range(half):
        x = matrix @ x
    before = global_norm([x])
    if not before:
        return 0.0
    x /= before
    for _ in range(half):
        x = matrix @ x
    return float(scale * global_norm([x]) ** (1.0 / half))
