"""Installed plugins are found without importing them, and a broken one harms nobody else."""

import logging
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rnncallbacks.config.discovery import Found, find_own_plugin, find_plugins
from rnncallbacks.errors import PluginError

ROOT = Path(__file__).parents[2]
GOOD = "class Good:\n    pass\n"


def found_as(name: str) -> list[Found]:
    return [found for found in find_plugins() if found.name == name]


def test_our_own_plugins_come_through_their_entry_points():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    ours = {found.name: found.entry_point.value for found in find_plugins() if found.distribution == "rnncallbacks"}
    assert ours == declared["rnncallbacks.plugins"]
    for found in find_plugins():
        if found.distribution == "rnncallbacks":
            assert found.load().__module__.startswith("rnncallbacks.plugins.")
            assert found.load().__module__.endswith(f".{found.name}")


def test_each_plugin_says_who_brought_it(install):
    install("acme-plugins", {"good": "acme_good:Good"}, version="2.3", acme_good=GOOD)
    (found,) = found_as("good")
    assert (found.distribution, found.version) == ("acme-plugins", "2.3")
    assert found.load().__name__ == "Good"


def test_plugins_are_sorted_by_name_and_then_by_distribution(install):
    install("zeta", {"same": "z:Z", "aaa": "z:Z"})
    install("alpha", {"same": "a:A", "zzz": "a:A"})
    names = [(found.name, found.distribution) for found in find_plugins()]
    assert names == sorted(names)
    assert [found.distribution for found in found_as("same")] == ["alpha", "zeta"]


def test_a_plugin_of_the_library_itself_is_found_by_name(install):
    install("rnncallbacks-acme", {"progress": "acme_progress:Progress"})
    found = find_own_plugin("progress")
    assert (found.name, found.distribution, found.rivals) == ("progress", "rnncallbacks", ())
    assert found.load()().refresh == 0.1
    with pytest.raises(PluginError, match=r"rnncallbacks has no plugin 'progres'\n.*did you mean 'progress'"):
        find_own_plugin("progres")


def test_finding_imports_nothing(install):
    install("acme", {"loud": "acme_loud:Loud"}, acme_loud="raise AssertionError('imported')")
    assert found_as("loud")
    assert "acme_loud" not in sys.modules


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def :", "SyntaxError"),
        ("pass", "AttributeError"),
        ("Broken = 5", "expected 'acme_broken:Broken' to be a class or a function that makes the plugin, got int"),
    ],
)
def test_a_plugin_that_fails_to_load_is_named_with_its_distribution_and_cause(install, source, cause):
    install(
        "acme-broken",
        {"broken": "acme_broken:Broken", "works": "acme_works:Good"},
        version="0.4",
        acme_broken=source,
        acme_works=GOOD,
    )
    (found,) = found_as("broken")
    with pytest.raises(PluginError) as caught:
        found.load()
    for part in ("'broken'", "acme-broken 0.4", cause):
        assert part in str(caught.value)
    assert found_as("works")[0].load().__name__ == "Good"
    assert found_as("gradient_clipping")[0].load()


def test_an_entry_point_that_names_no_module_is_a_plugin_that_fails(install):
    install("acme", {"odd": "not a module!"})
    with pytest.raises(PluginError, match=r"plugin 'odd' of acme 1\.0"):
        found_as("odd")[0].load()


def test_two_distributions_that_claim_one_name_are_both_named(install):
    install("first", {"contested": "first_module:Good", "fine": "first_module:Good"}, first_module=GOOD)
    install("second", {"contested": "second_module:Good"}, second_module=GOOD)
    for found in found_as("contested"):
        with pytest.raises(PluginError, match="claimed by two distributions, first and second"):
            found.load()
    assert found_as("fine")[0].load().__name__ == "Good"


def test_a_plugin_may_not_take_the_name_of_one_of_ours(install):
    install("acme", {"gradient_clipping": "acme_good:Good"}, acme_good=GOOD)
    with pytest.raises(PluginError, match="acme and rnncallbacks"):
        found_as("gradient_clipping")[0].load()


def test_a_distribution_seen_twice_is_one_and_the_first_on_the_path_holds(install):
    install("Acme_Plugins", {"good": "old:Good", "gone": "old:Good"}, version="1.0", folder="later", old=GOOD)
    install("acme-plugins", {"good": "new:Good"}, version="2.0", folder="earlier", new=GOOD)
    (found,) = found_as("good")
    assert (found.version, found.rivals) == ("2.0", ())
    assert found.load().__module__ == "new"
    assert not found_as("gone")


def test_egg_info_beside_an_installed_distribution_is_no_second_one(install, tmp_path):
    site = install("acme", {"good": "acme_good:Good"}, acme_good=GOOD)
    egg = site / "acme.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (egg / "entry_points.txt").write_text("[rnncallbacks.plugins]\ngood = acme_good:Good\n")
    (found,) = found_as("good")
    assert found.load().__name__ == "Good"


@pytest.mark.parametrize("lines", ["[rnncallbacks.plugins]\nthis line has no equals sign\n", "\x00"])
def test_a_malformed_file_of_entry_points_harms_no_other_distribution(install, lines, caplog):
    install("mangled", lines)
    install("acme", {"good": "acme_good:Good"}, acme_good=GOOD)
    with caplog.at_level(logging.WARNING, "rnncallbacks"):
        assert found_as("good")
    assert bool(caplog.messages) == ("rnncallbacks.plugins" in lines)


def test_a_distribution_without_metadata_is_left_out_and_named(install, caplog):
    site = install("nameless", {"orphan": "orphan_module:Good"})
    (site / "nameless-1.0.dist-info" / "METADATA").unlink()
    with caplog.at_level(logging.WARNING, "rnncallbacks"):
        assert found_as("gradient_clipping")
    assert not found_as("orphan")
    assert "orphan_module:Good" in caplog.text


def test_importing_the_library_does_not_look_for_entry_points():
    script = """
import importlib.metadata, sys
def refuse(*args, **kwargs):
    raise AssertionError("looked for distributions")
importlib.metadata.distributions = importlib.metadata.entry_points = refuse
import rnncallbacks, rnncallbacks.training.trainer
assert not [name for name in sys.modules if name.startswith("rnncallbacks.plugins")]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_import_that_raises_past_exception_is_named_too(install):
    install(
        "acme",
        {"skipping": "acme_skipping:Skipping"},
        acme_skipping="""
            class Skipped(BaseException):
                pass

            raise Skipped("not here")
            """,
    )
    (found,) = [one for one in find_plugins() if one.name == "skipping"]
    with pytest.raises(PluginError, match=r"plugin 'skipping' of acme 1\.0 cannot be loaded") as failed:
        found.load()
    assert "Skipped: not here" in str(failed.value)
