"""From TOML, the environment and arguments to plugins; and one error for everything that is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncallbacks.config.configuration import GUARDS, RECOMMENDED, default_progress, load_plugins, recommended
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.core.plugin_manager import Plugins
from rnncallbacks.core.run import Run
from rnncallbacks.errors import ConfigurationError

HOOKED = """
import attrs
from rnncallbacks.core.hookspecs import hookimpl

@attrs.define(eq=False, kw_only=True)
class Hooked:
    level: int = 1

    @hookimpl
    def on_fit_start(self, run):
        run.stop(f"level {self.level}")
"""


@pytest.fixture(autouse=True)
def no_configuration(tmp_path, monkeypatch):
    """Neither the configuration nor the environment of whoever runs the tests takes part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNCALLBACKS_PLUGINS", raising=False)
    monkeypatch.delenv("RNNCALLBACKS_DISABLE", raising=False)


def write(path: str, content: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def problems_of(*args, **kwargs) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_plugins(*args, **kwargs)
    return caught.value.problems


# From file to plugins


def test_the_tables_of_a_file_become_plugins():
    write("rnncallbacks.toml", "[plugins.gradient_clipping]\nmax_norm = 1.5\n")
    assert load_plugins()["gradient_clipping"].max_norm == 1.5


def test_an_empty_configuration_is_one():
    write("rnncallbacks.toml", "")
    assert load_plugins() == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("plugins = 3", "rnncallbacks.toml: plugins: expected tables [plugins.NAME], got 3"),
        ("plugins.progress = true", "rnncallbacks.toml: [plugins.progress]: expected a table, got True"),
    ],
)
def test_tables_that_are_no_tables_are_named(content, expected):
    write("rnncallbacks.toml", content)
    assert problems_of() == [expected]


# What a table says


@settings(max_examples=25)  # each reads the metadata of all installed distributions
@given(st.permutations(["warmup", *RECOMMENDED, "progress"]))
def test_the_order_of_tables_is_the_order_of_calls(names):
    tables = {name: {"steps": 5} if name == "warmup" else {} for name in names}
    assert list(load_plugins({"plugins": tables})) == names


def test_two_instances_of_one_plugin_live_side_by_side():
    write(
        "rnncallbacks.toml",
        "[plugins.gradient_clipping]\n[plugins.by_value]\nplugin = 'gradient_clipping'\nmode = 'value'\n",
    )
    plugins = load_plugins()
    assert [(name, plugin.mode) for name, plugin in plugins.items()] == [
        ("gradient_clipping", "global"),
        ("by_value", "value"),
    ]
    assert list(Plugins(plugins)) == ["gradient_clipping", "by_value"]


def test_a_disabled_plugin_is_not_imported_and_its_options_are_not_checked(install):
    install("acme", {"loud": "acme_loud:Loud"}, acme_loud="raise AssertionError('imported')")
    write("rnncallbacks.toml", "[plugins.loud]\nenabled = false\nnonsense = 1\n[plugins.progress]\n")
    assert list(load_plugins()) == ["progress"]
    assert "acme_loud" not in sys.modules


def test_a_table_of_a_plugin_that_is_not_installed_may_be_disabled():
    assert load_plugins({"plugins": {"acme": {"enabled": False}}}) == {}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"enabled": "no"}, "[plugins.progress] enabled: expected bool, got 'no' (str)"),
        ({"plugin": 3}, "[plugins.progress] plugin: expected str, got 3 (int)"),
    ],
)
def test_the_two_reserved_keys_have_types(table, expected):
    assert problems_of({"plugins": {"progress": table}}) == [f"configuration: {expected}"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"plugin": {}}, "configuration: 'plugin': there is no such key; did you mean 'plugins'?"),
        (
            {"select": []},
            "configuration: 'select': there is no such key; options belong into [plugins.NAME], or [train] for those "
            "of the command train",
        ),
        ({"progress": {}}, "configuration: 'progress': there is no such key; did you mean [plugins.progress]?"),
    ],
)
def test_keys_beside_the_plugins_are_refused(content, expected):
    assert problems_of(content) == [expected]


def test_all_problems_of_a_file_come_at_once_each_on_a_line_with_its_place():
    write(
        "pyproject.toml",
        """
        [tool.rnncallbacks]
        plugin = 1
        [tool.rnncallbacks.plugins.gradient_cliping]
        [tool.rnncallbacks.plugins.gradient_clipping]
        max_nrom = 1.0
        max_norm = "5"
        mode = "globl"
        [tool.rnncallbacks.plugins.plateau_alarm]
        patience = 0
        min_delta = -1.0
        [tool.rnncallbacks.plugins.warmup]
        """,
    )
    with pytest.raises(ConfigurationError) as caught:
        load_plugins()
    place = "pyproject.toml: [tool.rnncallbacks.plugins"
    assert caught.value.problems == [
        "pyproject.toml: 'plugin': there is no such key; did you mean 'plugins'?",
        f"{place}.gradient_cliping]: no plugin 'gradient_cliping' is installed; did you mean 'gradient_clipping'?",
        f"{place}.gradient_clipping] max_nrom: there is no such option; did you mean 'max_norm'?",
        f"{place}.gradient_clipping] max_norm: expected float, got '5' (str)",
        f"{place}.gradient_clipping] mode: expected 'global' or 'array' or 'value', got 'globl'; "
        "did you mean 'global'?",
        f"{place}.plateau_alarm] patience: expected an integer >= 1, got 0",
        f"{place}.plateau_alarm] min_delta: expected a number >= 0, got -1.0",
        f"{place}.warmup] steps: is required: expected int, got nothing",
    ]
    assert str(caught.value).splitlines() == caught.value.problems


def test_a_plugin_that_fails_to_load_is_a_problem_of_its_table_and_of_no_other(install):
    install("acme-broken", {"broken": "acme_broken:Broken"}, acme_broken="import nowhere_to_be_found")
    (problem,) = problems_of({"plugins": {"broken": {}, "progress": {}}})
    assert problem.startswith("configuration: [plugins.broken]: plugin 'broken' of acme-broken 1.0 cannot be loaded")
    assert "No module named 'nowhere_to_be_found'" in problem
    assert list(load_plugins({"plugins": {"progress": {}}})) == ["progress"]
    assert list(recommended()) == list(RECOMMENDED)


def test_a_name_claimed_twice_is_a_problem_only_of_who_uses_it(install):
    install("one", {"contested": "acme_one:Hooked"}, acme_one=HOOKED)
    install("two", {"contested": "acme_two:Hooked"}, acme_two=HOOKED)
    (problem,) = problems_of({"plugins": {"contested": {}}})
    assert "one and two" in problem
    assert list(load_plugins({"plugins": {"progress": {}}})) == ["progress"]


def test_an_installed_plugin_acts_in_a_run_only_when_it_is_enabled(install):
    install("acme", {"hooked": "acme_hooked:Hooked"}, acme_hooked=HOOKED)
    for tables, reason in (({"hooked": {"level": 7}}, "level 7"), ({}, None)):
        with Run(plugins=load_plugins({"plugins": tables})) as run:
            for _ in run.epochs(1):
                pass
        assert run.stop_reason == reason


# The environment and the arguments


def test_the_environment_enables_without_any_configuration(monkeypatch):
    monkeypatch.setenv("RNNCALLBACKS_PLUGINS", " loss_averaging, progress ,")
    assert list(load_plugins()) == ["loss_averaging", "progress"]


def test_enable_needs_no_configuration():
    assert list(load_plugins(enable=["progress"])) == ["progress"]


def test_disable_alone_does_not_stand_for_a_configuration():
    assert "no configuration" in problems_of(disable=["progress"])[0]


def test_what_is_added_comes_behind_the_tables_with_default_options(monkeypatch):
    monkeypatch.setenv("RNNCALLBACKS_PLUGINS", "gradient_clipping")
    plugins = load_plugins({"plugins": {"progress": {}}}, enable=["loss_averaging"])
    assert list(plugins) == ["progress", "gradient_clipping", "loss_averaging"]
    assert plugins["gradient_clipping"].max_norm == 5.0


def test_enabling_a_table_that_is_there_keeps_its_place_and_options():
    tables = {"gradient_clipping": {"enabled": False, "max_norm": 2.0}, "progress": {}}
    plugins = load_plugins({"plugins": tables}, enable=["gradient_clipping"])
    assert list(plugins) == ["gradient_clipping", "progress"]
    assert plugins["gradient_clipping"].max_norm == 2.0


@pytest.mark.parametrize("file", [True, False])
@pytest.mark.parametrize("environment", ["RNNCALLBACKS_PLUGINS", "RNNCALLBACKS_DISABLE", None])
@pytest.mark.parametrize("argument", ["enable", "disable", None])
def test_arguments_win_over_the_environment_which_wins_over_the_file(monkeypatch, file, environment, argument):
    if environment:
        monkeypatch.setenv(environment, "progress")
    arguments = {argument: ["progress"]} if argument else {}
    enabled = file
    if environment:
        enabled = environment == "RNNCALLBACKS_PLUGINS"
    if argument:
        enabled = argument == "enable"
    plugins = load_plugins({"plugins": {"progress": {"enabled": file}}}, **arguments)
    assert list(plugins) == (["progress"] if enabled else [])


def test_of_enabling_and_disabling_at_one_level_disabling_wins(monkeypatch):
    assert load_plugins({}, enable=["progress"], disable=["progress"]) == {}
    monkeypatch.setenv("RNNCALLBACKS_PLUGINS", "progress")
    monkeypatch.setenv("RNNCALLBACKS_DISABLE", "progress")
    assert load_plugins({}) == {}


def test_disabling_goes_by_the_name_of_the_table_else_by_that_of_the_plugin():
    tables = {"first": {"plugin": "gradient_clipping"}, "second": {"plugin": "gradient_clipping"}}
    assert list(load_plugins({"plugins": tables}, disable=["first"])) == ["second"]
    assert load_plugins({"plugins": tables}, disable=["gradient_clipping"]) == {}
    assert list(load_plugins({"plugins": {**tables, "gradient_clipping": {}}}, disable=["gradient_clipping"])) == [
        "first",
        "second",
    ]


def test_disabling_what_is_installed_and_not_enabled_is_no_mistake():
    assert load_plugins({}, disable=["progress"]) == {}


def test_names_that_nobody_has_are_problems_with_the_nearest_match(monkeypatch):
    monkeypatch.setenv("RNNCALLBACKS_PLUGINS", "progres")
    monkeypatch.setenv("RNNCALLBACKS_DISABLE", "my_clip")
    tables = {"my_clipping": {"plugin": "gradient_clipping"}}
    assert problems_of({"plugins": tables}, enable=["xyz"], disable=["warm_up"]) == [
        "RNNCALLBACKS_PLUGINS: no plugin 'progres' is installed; did you mean 'progress'?",
        "RNNCALLBACKS_DISABLE: no plugin 'my_clip' is installed; did you mean 'my_clipping'?",
        "enable: no plugin 'xyz' is installed; run 'rnncallbacks plugins' for those that are",
        "disable: no plugin 'warm_up' is installed; did you mean 'warmup'?",
    ]


def test_disabling_a_broken_plugin_makes_the_rest_run(install, monkeypatch):
    install("acme-broken", {"broken": "acme_broken:Broken"}, acme_broken="1 / 0")
    monkeypatch.setenv("RNNCALLBACKS_DISABLE", "broken")
    assert list(load_plugins({"plugins": {"broken": {}, "progress": {}}})) == ["progress"]


# The preset


def test_recommended_are_remedies_and_guards_with_their_defaults_in_order():
    plugins = recommended()
    assert list(plugins) == list(RECOMMENDED)
    assert RECOMMENDED[:2] == ("hidden_state_reset", "divergence_alarm")
    assert RECOMMENDED[-2:] == ("gradient_clipping", "loss_averaging")
    guards = {found.name for found in find_plugins() if found.name.endswith("_guard")}
    assert set(RECOMMENDED[2:-2]) == set(GUARDS) == guards
    assert plugins["gradient_clipping"].max_norm == 5.0
    assert plugins["gradient_clipping"] is not recommended()["gradient_clipping"]


def test_the_preset_of_guards_warns_of_all_that_they_find_and_changes_nothing():
    plugins = load_plugins({"preset": "guards"})
    assert list(plugins) == ["divergence_alarm", *GUARDS]
    assert {plugin.action for plugin in plugins.values()} == {"warn"}
    other = load_plugins({"preset": "guards", "plugins": {"divergence_alarm": {"window": 9}}})["divergence_alarm"]
    assert (other.window, other.action) == (9, "warn")
    assert load_plugins({"preset": "recommended"})["divergence_alarm"].action == "stop"


def test_the_preset_comes_first_in_its_own_order_and_tables_change_it():
    write(
        "rnncallbacks.toml",
        """
        preset = "recommended"
        [plugins.warmup]
        steps = 10
        [plugins.gradient_clipping]
        max_norm = 1.0
        [plugins.divergence_alarm]
        enabled = false
        """,
    )
    plugins = load_plugins()
    assert list(plugins) == [*(name for name in RECOMMENDED if name != "divergence_alarm"), "warmup"]
    assert plugins["gradient_clipping"].max_norm == 1.0


def test_a_preset_that_nobody_knows():
    assert problems_of({"preset": "recomended"}) == [
        "configuration: preset: there is no preset 'recomended'; did you mean 'recommended'?"
    ]
    assert problems_of({"preset": 7}) == [
        "configuration: preset: there is no preset 7; expected 'guards' or 'recommended'"
    ]


def test_what_is_recommended_stops_a_run_at_non_finite_values_only():
    actions = {
        (name, option): getattr(plugin, option)
        for name, plugin in recommended().items()
        for option in ("action", "divergence_action")
        if hasattr(plugin, option)
    }
    assert {place for place, action in actions.items() if action != "warn"} == {("divergence_alarm", "action")}
    assert len(actions) >= 9


@pytest.mark.parametrize("option", ["action", "divergence_action"])
def test_whoever_asks_for_a_repair_gets_the_plugin_that_does_it(option):
    plugins = load_plugins({"plugins": {"divergence_alarm": {option: "repair"}}})
    assert list(plugins) == ["divergence_alarm", "self_repair"]
    assert plugins["self_repair"].when == "asked"
    Run(plugins=plugins)


def test_a_repair_plugin_of_ones_own_is_left_as_it_is():
    tables = {"mender": {"plugin": "self_repair", "max_repairs": 2}, "divergence_alarm": {"action": "repair"}}
    plugins = load_plugins({"plugins": tables})
    assert list(plugins) == ["mender", "divergence_alarm"]
    assert (plugins["mender"].max_repairs, plugins["mender"].when) == (2, "always")


def test_recommended_reads_no_file_and_minds_the_environment(monkeypatch):
    write("rnncallbacks.toml", "[plugins.progress]\n")
    monkeypatch.setenv("RNNCALLBACKS_DISABLE", "divergence_alarm")
    assert list(recommended()) == [name for name in RECOMMENDED if name != "divergence_alarm"]


def test_the_default_progress_can_be_disabled_by_the_environment(monkeypatch):
    assert type(default_progress()).__name__ == "Progress"
    monkeypatch.setenv("RNNCALLBACKS_DISABLE", "gradient_guard, progress")
    assert default_progress() is None


def test_only_enabled_plugins_are_imported():
    script = """
import sys
from rnncallbacks.config.configuration import load_plugins
load_plugins({"plugins": {"loss_averaging": {}}})
loaded = {name for name in sys.modules if name.startswith("rnncallbacks.plugins.")}
assert loaded == {"rnncallbacks.plugins.remedies", "rnncallbacks.plugins.remedies.loss_averaging"}, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_byte_order_mark_is_no_part_of_a_file():
    Path("rnncallbacks.toml").write_bytes(b"\xef\xbb\xbf[plugins.loss_averaging]\n")
    assert list(load_plugins()) == ["loss_averaging"]


def test_a_pyproject_whose_tool_is_no_table_is_passed_over():
    write("rnncallbacks.toml", "[plugins.loss_averaging]\n")
    Path("inner").mkdir()
    write("inner/pyproject.toml", "tool = 3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("inner")
        assert list(load_plugins()) == ["loss_averaging"]


def test_a_plugin_whose_options_cannot_be_read_is_a_problem_of_its_table(install):
    install("acme", {"odd": "builtins:dict"})
    (problem,) = problems_of({"plugins": {"odd": {}, "loss_averaging": {}}})
    assert "[plugins.odd]" in problem
    assert "its options cannot be read" in problem


def test_a_plugin_that_exits_when_it_is_made_is_a_problem_of_its_table(install):
    install(
        "acme",
        {"licensed": "acme_licensed:Licensed"},
        acme_licensed="""
            class Licensed:
                def __init__(self):
                    raise SystemExit("no licence")
            """,
    )
    (problem,) = problems_of({"plugins": {"licensed": {}}})
    assert "[plugins.licensed]" in problem
    assert "no licence" in problem


@pytest.mark.parametrize("preset", [{}, [], 3, True])
def test_a_preset_that_is_no_word_is_one_problem(preset):
    with pytest.raises(ConfigurationError) as caught:
        load_plugins({"preset": preset})
    assert len(caught.value.problems) == 1
    assert f"there is no preset {preset!r}" in caught.value.problems[0]


def test_an_option_at_the_top_hears_where_it_belongs():
    with pytest.raises(
        ConfigurationError, match=r"'epoch': there is no such key; options belong into \[plugins\.NAME\]"
    ):
        load_plugins({"epoch": 10})


def test_more_tables_than_any_run_needs_are_one_problem():
    with pytest.raises(ConfigurationError) as caught:
        load_plugins({"plugins": {f"x{number}": {} for number in range(20_000)}})
    assert caught.value.problems == ["configuration: plugins: expected at most 1000 tables, got 20000"]
    many = {f"k{number}": 1 for number in range(20_000)}
    with pytest.raises(ConfigurationError) as caught:
        load_plugins({**many, "plugins": {"warmup": many}})
    assert caught.value.problems == [
        "configuration: expected the keys preset, plugins, train, got 20000 others",
        "configuration: [plugins.warmup]: expected at most 1000 options, got 20000",
        "configuration: [plugins.warmup] steps: is required: expected int, got nothing",
    ]


def test_a_value_too_long_to_print_is_cut():
    with pytest.raises(ConfigurationError) as caught:
        load_plugins({"plugins": {"gradient_clipping": {"max_norm": 16**6000}, "checkpoint": {"path": "a\0b"}}})
    number, path = caught.value.problems
    assert "max_norm: expected float, got an integer of 24001 bits" in number
    assert r"path: expected a path" in path
