"""What a run on several ranks says of errors of the script."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.errors import DataError
from rnncallbacks.parallel.shared_run import SharedRun


@pytest.mark.parametrize(
    ("error", "rows", "is_explained"),
    [
        (ValueError("shapes (16,4) (16,8)"), 8, True),
        (IndexError("out of bounds"), 8, True),
        (ValueError("bad data"), 8, False),
        (DataError("the shape, and what to do"), 8, False),
        (ValueError("shapes of a batch that is not divided"), None, False),
    ],
)
def test_an_error_of_shapes_tells_how_many_rows_a_rank_has(
    error: Exception, rows: int | None, is_explained: bool
) -> None:
    batch = Batch(data=np.zeros((rows or 8, 2)), phase="train", index=1)
    run: Any = SimpleNamespace(batch=batch, hidden_states=None, where=lambda: "epoch 1, batch 1 of train")
    ranks: Any = SimpleNamespace(rank=0, ranks=2, waited=0.0)
    shared = SharedRun(run, ranks, divides=rows is not None, axis=0)
    shared.open_batch(batch)
    shared.explain(error)
    notes = getattr(error, "__notes__", [])
    assert [note.startswith("2 ranks divide the batch, and this one has 4 of its 8 rows") for note in notes] == [
        True
    ] * is_explained
