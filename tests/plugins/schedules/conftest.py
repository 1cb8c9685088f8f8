"""PyTorch's schedulers, to compare with."""

from collections.abc import Callable
from typing import Any

import pytest

TorchScales = Callable[..., list[float]]


@pytest.fixture
def torch_scales() -> TorchScales:
    """The learning rates of a PyTorch scheduler on an optimizer whose base learning rate is 1."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch's schedulers where it is installed")

    def scales(scheduler: str, count: int, **options: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        made = getattr(torch.optim.lr_scheduler, scheduler)(optimizer, **options)
        rates = [made.get_last_lr()[0]]
        for _ in range(count - 1):
            optimizer.step()
            made.step()
            rates.append(made.get_last_lr()[0])
        return rates

    return scales
