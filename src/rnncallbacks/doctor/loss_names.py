"""Names of losses, and of sums and averages of them."""

from __future__ import annotations

import re

LOSS_NAMES = re.compile(r"loss|cost|err|nll|objective|entropy|xent|\br?mse\b|\bce\b|\bJ\b|\bE\b|\bL\b", re.IGNORECASE)
AVERAGE_NAMES = re.compile(r"smooth|avg|average|running|mean|total|epoch|best|min|perplex|ppl|acc", re.IGNORECASE)
