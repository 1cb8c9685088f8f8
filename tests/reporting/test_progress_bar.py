"""The bar by itself; tests/plugins/output/test_progress.py looks at it on a terminal."""

import io
import time

from rich.console import Console

from rnncallbacks.reporting.progress_bar import ProgressBar


def test_a_batch_is_shown_while_the_next_one_is_computed():
    out = io.StringIO()
    bar = ProgressBar(Console(file=out, force_terminal=True, width=100), max_epochs=3)
    try:
        bar.show_batch(1, 2, 4, 0.5)
        limit = time.monotonic() + 60.0
        while "epoch 1/3  batch 2/4  loss 0.5000" not in out.getvalue() and time.monotonic() < limit:
            time.sleep(0.002)
    finally:
        shown = out.getvalue()  # erasing the bar draws it once more
        bar.erase()
    assert "epoch 1/3  batch 2/4  loss 0.5000" in shown
