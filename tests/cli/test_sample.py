"""``rnncallbacks sample``: text from the network in a run folder, and what is said where there is none."""

import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.rnn import RecurrentModel, Vocabulary


def call(*arguments):
    return CliRunner().invoke(rnncallbacks, ["sample", *arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A run folder as train writes it, with a network that was not trained."""
    monkeypatch.chdir(tmp_path)
    vocabulary = Vocabulary.from_tokens("it is what it is\x07")
    Path("run").mkdir()
    Path("run/vocabulary.json").write_text(json.dumps(attrs.asdict(vocabulary)))
    RecurrentModel(8, vocab_size=len(vocabulary), cell="gru").save("run/model.safetensors")


def test_a_text_continues_the_prompt_and_another_seed_gives_another():
    done = call("run", "--prompt", "what", "--length", "60")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("what")
    assert len(done.output) == 65
    assert call("run", "--prompt", "what", "--length", "60").output == done.output
    assert call("run", "--prompt", "what", "--length", "60", "--seed", "1").output != done.output


def test_the_most_frequent_character_begins_and_control_characters_are_not_printed():
    text = call("run", "--length", "300", "--temperature", "5").output
    assert text[0] in "i "
    assert "\ufffd" in text
    assert "\x07" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: not the run folder of a network that was trained: it has no vocabulary.json"),
        (["run", "--prompt", ""], "--prompt: expected at least one character"),
        (["run", "--prompt", "X"], "token 'X' at position 0 is not in the vocabulary of"),
        (["run", "--length", "-1"], "--length: expected an integer >= 0, got -1"),
        (["run", "--temperature", "0"], "--temperature: expected a number > 0, got 0.0"),
        (["run", "--top-p", "2"], "--top-p: expected a number > 0 and <= 1, got 2.0"),
    ],
)
def test_what_cannot_be_is_told_without_a_traceback(arguments, message):
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("text", ["{", "[]", '{"tokens": []}', '{"words": 1}'])
def test_a_vocabulary_that_is_none_is_told(text):
    Path("run/vocabulary.json").write_text(text)
    done = call("run")
    assert done.exit_code == 2
    assert "ocabulary" in done.output
