"""Names of losses, of sums and averages of them, of gradients, and of learning rates."""

from __future__ import annotations

import re

LOSS_NAMES = re.compile(r"loss|cost|err|nll|objective|entropy|xent|\br?mse\b|\bce\b|\bJ\b|\bE\b|\bL\b", re.IGNORECASE)
AVERAGE_NAMES = re.compile(r"smooth|avg|average|running|mean|total|epoch|best|min|perplex|ppl|acc", re.IGNORECASE)
UPDATE_RATES = re.compile(r"(^|[._\['\"])(lr|eta|alpha|step_?size)\b|rate", re.IGNORECASE)
"""Names of numbers that may be a learning rate."""
NORM_NAMES = re.compile(r"(\b|_)norms?(\b|_)", re.IGNORECASE)
GRADIENT_NAMES = re.compile(r"(\b|_)(grads?|gradients?|nabla|deltas?)(\b|_)|(\b|_)d_?([A-Z]|b|w)\w{0,4}\b")


def is_gradient_name(expression: str) -> bool:
    """Whether a value is named as a gradient is.

    >>> [is_gradient_name(name) for name in ("net.grad_B", "grads['by']", "dby", "self.d_bias", "d_loss", "distance")]
    [True, True, True, True, False, False]
    """
    return bool(GRADIENT_NAMES.search(expression)) and not LOSS_NAMES.search(expression)


def is_norm_name(expression: str) -> bool:
    """Whether a number is named as the norm of a gradient is.

    >>> [is_norm_name(name) for name in ("grad_norm", "total_norm", "normalized", "loss_norm")]
    [True, True, False, False]
    """
    return bool(NORM_NAMES.search(expression)) and not LOSS_NAMES.search(expression)
