"""What ``-p`` adds and takes out, and what ``-o`` sets."""

import pytest

from rnncallbacks.cli.command_options import PluginSwitches
from rnncallbacks.errors import ConfigurationError


def test_names_are_added_or_taken_out():
    assert PluginSwitches.from_words([]) == PluginSwitches([], [], {})
    assert PluginSwitches.from_words(("no:a", "b", "no:c", "nob")) == PluginSwitches(["b", "nob"], ["a", "c"], {})


def test_options_are_set_and_the_last_of_one_counts():
    override = PluginSwitches.from_words([], ("a.b=1", "a.c = [1, 2]", "a.b=text=2")).override
    assert override == {"a.b": "text=2", "a.c": [1, 2]}


def test_an_option_without_a_value_is_refused():
    with pytest.raises(ConfigurationError, match=r"-o: expected NAME.OPTION=VALUE, .*, got 'a.b'"):
        PluginSwitches.from_words([], ["a.b"])
