import json
import sys

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncallbacks.errors import DataError, OptionError, ShapeError
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text, read_text

TEXTS = st.text(min_size=1)


class TestVocabulary:
    @given(TEXTS)
    def test_decoding_undoes_encoding(self, text):
        vocabulary = Vocabulary.from_tokens(text)
        numbers = vocabulary.encode(text)
        assert numbers.dtype == np.intp
        assert numbers.shape == (len(text),)
        assert "".join(vocabulary.decode(numbers)) == text

    @given(TEXTS)
    def test_every_number_stands_for_one_token(self, text):
        vocabulary = Vocabulary.from_tokens(text)
        assert len(vocabulary) == len(set(text))
        assert vocabulary.encode(vocabulary.tokens).tolist() == list(range(len(vocabulary)))

    @given(TEXTS)
    def test_the_order_is_that_of_frequency_and_independent_of_the_texts_order(self, text):
        vocabulary = Vocabulary.from_tokens(text)
        counts = [text.count(token) for token in vocabulary.tokens]
        assert counts == sorted(counts, reverse=True)
        assert Vocabulary.from_tokens(sorted(text)) == vocabulary

    @given(TEXTS, st.sampled_from([None, "<unk>"]))
    def test_survives_json(self, text, unknown):
        vocabulary = Vocabulary.from_tokens(text, unknown=unknown)
        again = Vocabulary(**json.loads(json.dumps(attrs.asdict(vocabulary))))
        assert again == vocabulary
        np.testing.assert_array_equal(again.encode(text), vocabulary.encode(text))

    def test_an_unknown_token_stands_for_others(self):
        vocabulary = Vocabulary.from_tokens(["the", "cat", "and", "the", "dog"], unknown="<unk>")
        assert vocabulary.tokens[0] == "<unk>"
        assert vocabulary.decode(vocabulary.encode(["the", "bird", "and"])) == ["the", "<unk>", "and"]

    def test_an_unknown_token_that_the_text_contains_is_there_once(self):
        assert Vocabulary.from_tokens(["<unk>", "a", "<unk>"], unknown="<unk>").tokens == ("<unk>", "a")

    def test_max_size_keeps_the_most_frequent(self):
        vocabulary = Vocabulary.from_tokens("aaabbcd", max_size=3, unknown="?")
        assert vocabulary.tokens == ("?", "a", "b")

    def test_max_size_may_leave_room(self):
        assert Vocabulary.from_tokens("ab", max_size=2).tokens == ("a", "b")

    def test_max_size_without_an_unknown_token(self):
        with pytest.raises(OptionError, match=r"max_size: 2 leaves out 1 of 3 tokens(.|\n)*hint: .*unknown="):
            Vocabulary.from_tokens("abc", max_size=2)
        with pytest.raises(OptionError, match="max_size: expected an integer >= 1, got 0"):
            Vocabulary.from_tokens("abc", max_size=0, unknown="?")

    @pytest.mark.parametrize("text", ["hello w", list("hello w"), iter("hello w")])
    def test_an_unknown_character_is_named_with_its_position(self, text):
        vocabulary = Vocabulary.from_tokens("hello")
        with pytest.raises(DataError, match="token ' ' at position 5 is not in the vocabulary of 4 tokens"):
            vocabulary.encode(text)

    def test_an_unknown_word_gets_the_nearest_match(self):
        with pytest.raises(DataError, match=r"token 'hidden' at position 1(.|\n)*did you mean 'hide'"):
            Vocabulary.from_tokens(["seek", "hide"]).encode(["hide", "hidden"])

    @pytest.mark.parametrize(
        ("numbers", "error", "expected"),
        [
            ([0, 1, 4, 5], DataError, "below 4, the size of the vocabulary, got 4 at 2"),
            ([0, -1], DataError, "got -1 at 1"),
            ([0.0], DataError, "which are integers, got float64"),
            ([[0]], ShapeError, r"one axis of token numbers, got shape \(1, 1\)"),
        ],
    )
    def test_numbers_that_stand_for_nothing(self, numbers, error, expected):
        with pytest.raises(error, match=expected):
            Vocabulary.from_tokens("hello").decode(numbers)

    def test_nothing_encodes_and_decodes_to_nothing(self):
        vocabulary = Vocabulary.from_tokens("hello")
        assert vocabulary.encode("").shape == (0,)
        assert vocabulary.decode([]) == []

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"tokens": ()}, "at least one token"),
            ({"tokens": ("a", "b", "a")}, "token 'a' appears 2 times"),
            ({"tokens": ("a", 3)}, "expected strings, got 3, a int"),
            ({"tokens": ("a", "b"), "unknown": "?"}, r"the unknown token '\?' is not among the 2 tokens"),
        ],
    )
    def test_bad_tokens(self, options, expected):
        with pytest.raises(DataError, match=expected):
            Vocabulary(**options)

    def test_an_empty_text_has_no_vocabulary(self):
        with pytest.raises(DataError, match="the text has no token"):
            Vocabulary.from_tokens("")


class TestReadText:
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_reads_utf8_with_any_line_ends(self, tmp_path, newline, mark):
        (tmp_path / "text.txt").write_bytes(mark + newline.join(["Größe".encode(), b"two", b""]))
        assert read_text(tmp_path / "text.txt") == read_text(str(tmp_path / "text.txt")) == "Größe\ntwo\n"

    def test_a_missing_file_gets_the_nearest_match(self, tmp_path):
        (tmp_path / "shakespeare.txt").write_text("To be")
        with pytest.raises(DataError, match=r"shakespear\.txt: there is no such file\n.*'shakespeare\.txt'"):
            read_text(tmp_path / "shakespear.txt")

    def test_a_missing_directory(self, tmp_path):
        with pytest.raises(DataError, match="there is no such file"):
            read_text(tmp_path / "nowhere" / "text.txt")

    def test_a_directory(self, tmp_path):
        with pytest.raises(DataError, match="expected a text file, got a directory"):
            read_text(tmp_path)

    def test_a_path_through_a_file_cannot_be_read(self, tmp_path):
        (tmp_path / "text.txt").write_text("To be")
        with pytest.raises(DataError, match="cannot be read: Not a directory"):
            read_text(tmp_path / "text.txt" / "text.txt")

    @pytest.mark.parametrize("data", [b"", b" \n\t\n", b"\xef\xbb\xbf"])
    def test_an_empty_file(self, tmp_path, data):
        (tmp_path / "text.txt").write_bytes(data)
        with pytest.raises(DataError, match=f"the file has no text: {len(data)} bytes"):
            read_text(tmp_path / "text.txt")

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @given(before=st.text(), after=st.binary())
    def test_a_byte_that_is_not_utf8_is_named_with_its_offset(self, tmp_path_factory, mark, before, after):
        path = tmp_path_factory.mktemp("latin") / "text.txt"
        start = mark + before.encode()
        path.write_bytes(start + b"\xff" + after)
        with pytest.raises(DataError, match=f"expected UTF-8 text, got byte 0xff at offset {len(start)}:"):
            read_text(path)


class TestEmbeddedText:
    def test_is_long_and_has_few_characters(self):
        text = embedded_text()
        assert 400_000 < len(text) < 800_000
        assert 90 < len(set(text)) < 200
        assert text.count(" the ") > 1_000

    @pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the text differs between versions of Python")
    def test_is_the_text_of_python_3_11(self):
        # Patch releases differ a little.
        assert len(embedded_text()) == pytest.approx(465_000, abs=10_000)

    def test_a_python_without_it_is_told_so(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
        with pytest.raises(DataError, match=r"without pydoc_data\.topics(.|\n)*your own text file"):
            embedded_text()
