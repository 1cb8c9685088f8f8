"""What ``-p`` adds and takes out."""

from rnncallbacks.cli.command_options import PluginSwitches


def test_names_are_added_or_taken_out():
    assert PluginSwitches.from_words([]) == PluginSwitches([], [])
    assert PluginSwitches.from_words(("no:a", "b", "no:c", "nob")) == PluginSwitches(["b", "nob"], ["a", "c"])
