"""The text that is trained on."""

import hashlib
import math

import pytest

from rnncallbacks.cli.corpus import Corpus
from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.errors import DataError

TEXT = "ab" * 200


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return Corpus.from_settings(Settings(text=tmp_path / "text.txt"))


def test_the_end_of_the_text_is_held_out(corpus):
    assert (len(corpus.train), len(corpus.held_out)) == (360, 40)
    assert "".join(corpus.vocabulary.decode([*corpus.train.tolist(), *corpus.held_out.tolist()])) == TEXT
    assert corpus.digest == hashlib.sha256(TEXT.encode()).hexdigest()
    assert str(corpus).endswith("text.txt: 400 characters, 2 different; the last 40 are held out")


def test_baselines_learn_the_text_and_a_uniform_guess_does_not(corpus):
    assert corpus.uniform_loss == pytest.approx(math.log(2))
    assert list(corpus.baselines()) == ["bigram model", "trigram model"]
    assert all(0 < loss < 0.1 for loss in corpus.baselines().values())


def test_a_short_held_out_part_is_read_in_fewer_rows(corpus):
    train, held_out = corpus.loaders(batch_size=4, seq_len=10)
    assert next(iter(train)).size == 4
    assert next(iter(held_out)).size == 3
    with pytest.raises(DataError, match=r"text.txt: too short: "):
        corpus.loaders(batch_size=400, seq_len=10)
