"""The guards of a case are those that users get, in the same order."""

from rnncallbacks.config.configuration import load_plugins
from rnncallbacks.testing.cases import shipped_guards


def test_a_case_runs_the_guards_of_the_preset_in_its_order():
    shipped = load_plugins({"preset": "guards"})
    made = shipped_guards()
    assert list(made) == list(shipped)
    assert [type(plugin) for plugin in made.values()] == [type(plugin) for plugin in shipped.values()]
    assert {plugin.action for plugin in made.values()} == {"warn"}
