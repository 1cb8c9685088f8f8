"""The same tests for what NumPy computes and for what compiled kernels do."""

import pytest


@pytest.fixture(params=["numpy", "numba"], scope="session")
def kernels(request: pytest.FixtureRequest) -> str:
    """What a model or optimizer is told to compute with; "numba" is for float32 only."""
    name: str = request.param
    if name == "numba":
        pytest.importorskip("numba", reason="numba is not installed, which the extra 'fast' brings")
    return name
