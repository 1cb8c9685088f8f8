"""A notebook that is executed by a kernel."""

import json

import pytest

EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""
CELLS = [
    """
from rnncallbacks import Trainer
from rnncallbacks.rnn.data.anbn import anbn
from rnncallbacks.rnn.data.loaders import SequenceLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam

trainer = Trainer(RecurrentModel(8, vocab_size=4), Adam(), learning_rate=1e-2, metrics=["accuracy"])
history = trainer.fit(SequenceLoader(anbn(20), batch_size=10), max_epochs=3)
""",
    "history",
    "trainer",
    'history.plot("train_accuracy")',
]


@pytest.mark.extras
def test_a_notebook_shows_a_run_while_and_after_it_trains(run_python):
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason="the stage extras has it")
    done = run_python(EXECUTE, json.dumps(CELLS))
    assert done.returncode == 0, done.stderr
    trained, history, trainer, plot = json.loads(done.stdout)
    # One display that was updated, and the diagnosis: no line was printed.
    assert [one["output_type"] for one in trained] == ["display_data", "display_data"]
    table = trained[0]["data"]["text/html"]
    assert table.count("<tr>") == 4
    assert "train_accuracy" in table
    assert "<progress" not in table
    assert "<details>" in trained[1]["data"]["text/html"]
    assert history[0]["data"]["text/plain"].startswith("History(3 epochs, train_loss")
    assert "<table>" in history[0]["data"]["text/html"]
    assert trainer[0]["data"]["text/html"].startswith("<p><code>Trainer(RecurrentModel of")
    assert "image/png" in plot[-1]["data"]
