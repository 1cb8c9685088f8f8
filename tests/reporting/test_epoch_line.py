"""One line of text for each epoch."""

import math

import pytest

from rnncallbacks.reporting.epoch_line import epoch_line, loss_text

ROW = {
    "epoch": 7,
    "learning_rate": 1e-3,
    "seconds": 1.25,
    "train_loss": 1.23456,
    "val_loss": 2.0,
    "train_batches": 12,
    "gradient_norm": 12.3456,
    "clipped_gradient_norm": 5.0,
    "clipped_fraction": 0.25,
}


def test_a_line_names_losses_rate_norm_and_share():
    assert epoch_line(ROW, 100) == (
        "epoch   7/100  train 1.2346  val 2.0000  lr 1.00e-03  grad norm 12.3  clipped 25%  1.2s"
    )


@pytest.mark.parametrize(
    ("row", "max_epochs", "line"),
    [
        ({"epoch": 1}, None, "epoch 1"),
        ({"epoch": 1}, 9, "epoch 1/9"),
        ({"epoch": 1, "val_loss": math.nan}, 10, "epoch  1/10  val nan"),
        ({"epoch": 1, "note_loss": "a word"}, None, "epoch 1"),
    ],
)
def test_a_line_leaves_out_what_is_not_there(row, max_epochs, line):
    assert epoch_line(row, max_epochs) == line


def test_a_line_shows_what_was_logged():
    logged = {"val_accuracy": 0.98765, "tries": 3, "good": True, "note": "warm", "best_tokens": 7, "val_tokens": 90}
    line = epoch_line(ROW | logged, None)
    assert "  val 2.0000  val_accuracy 0.9877  tries 3  good 1  best_tokens 7  lr 1.00e-03  " in line
    short = epoch_line(ROW | logged, None, 60)
    assert short == "epoch 7  train 1.2346  val 2.0000  val_accuracy 0.9877"


@pytest.mark.parametrize(
    ("loss", "text"), [(1e300, "1e+300"), (2.5e-7, "2.5e-07"), (0.0, "0.0000"), (-12.5, "-12.5000"), (math.inf, "inf")]
)
def test_a_loss_takes_little_room(loss, text):
    assert loss_text(loss) == text
    assert epoch_line({"epoch": 1, "train_loss": loss}, None) == f"epoch 1  train {text}"


def test_a_line_leaves_out_what_does_not_fit():
    whole = epoch_line(ROW, 100)
    for width, last in ((len(whole), "1.2s"), (len(whole) - 1, "25%"), (70, "12.3"), (60, "1.00e-03"), (1, "2.0000")):
        line = epoch_line(ROW, 100, width)
        assert whole.startswith(line)
        assert line.endswith(last)
