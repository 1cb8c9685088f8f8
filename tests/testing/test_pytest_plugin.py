"""The fixtures for authors of plugins, in sessions of pytest with a strict configuration."""

import ast
import inspect

import pytest

import rnncallbacks_pytest

CONFIGURATION = """
    [pytest]
    addopts = --import-mode=importlib --strict-markers --strict-config -p no:cacheprovider
    filterwarnings = error
"""
PLUGINS = """
    import attrs
    from rnncallbacks import hookimpl
    from rnncallbacks.bases import Entry

    LOUD1 = Entry(cause="loud", severity="info", remedy="be quiet")

    @attrs.define(eq=False, kw_only=True)
    class LoudPlugin:
        volume: int = attrs.field(default=1, validator=attrs.validators.ge(0))

        @hookimpl
        def on_epoch_end(self, run):
            run.log(volume=self.volume)
"""


@pytest.fixture
def session(pytester):
    pytester.makeini(CONFIGURATION)
    pytester.makepyfile(loud=PLUGINS)
    pytester.syspathinsert()
    return pytester


def test_fixtures_marker_and_installation(session):
    session.makepyfile(
        test_loud="""
        import pytest
        from loud import LoudPlugin
        from rnncallbacks import load_plugins
        from rnncallbacks.alarms.registered_codes import find_entry
        from rnncallbacks.errors import ConfigurationError, PluginError
        from rnncallbacks.testing import PluginCheckError

        class Spoiled:
            from rnncallbacks import hookimpl

            @hookimpl
            def on_epoch_end(self):
                open("spoiled", "w").close()

        def test_play(play, recorder):
            assert play([LoudPlugin(), recorder], losses=[1.0]).history["volume"] == [1]
            assert recorder.hooks[:2] == ["on_fit_start", "on_epoch_start"]

        @pytest.mark.rnncallbacks_budget(None)
        def test_rules(check_plugin):
            check_plugin(LoudPlugin, batches=100)

        @pytest.mark.rnncallbacks_budget(-1000)
        def test_budget_of_the_marker(check_plugin):
            with pytest.raises(PluginCheckError, match="cost: .*, -1000 are allowed"):
                check_plugin(LoudPlugin, batches=100)

        @pytest.mark.rnncallbacks_budget(1, 2)
        def test_wrong_marker(check_plugin):
            pass

        def test_installation(installed_plugin):
            assert installed_plugin(LoudPlugin, codes={"LOUD1": "loud:LOUD1"}) == "loud_plugin"
            assert load_plugins({"plugins": {"loud_plugin": {"volume": 3}}})["loud_plugin"].volume == 3
            assert find_entry("LOUD1").cause == "loud"
            with pytest.raises(ConfigurationError, match="volume: .*>= 0"):
                load_plugins({"plugins": {"loud_plugin": {"volume": -3}}})

        def test_installation_is_over():
            with pytest.raises(ConfigurationError, match="no plugin 'loud_plugin' is installed"):
                load_plugins({"plugins": {"loud_plugin": {}}})

        def test_two_installations(installed_plugin):
            installed_plugin("loud:LoudPlugin", "loud")
            with pytest.raises(PluginError, match="'plugin-under-test' is installed already"):
                installed_plugin(LoudPlugin)
            installed_plugin(Spoiled, "loud", distribution="other")
            with pytest.raises(ConfigurationError, match="claimed by two distributions, other and plugin-under-test"):
                load_plugins({"plugins": {"loud": {}}})

        def test_no_class(installed_plugin):
            class Local:
                pass

            for factory in (Local, LoudPlugin()):
                with pytest.raises(PluginError, match="expected the class of a plugin that a module defines"):
                    installed_plugin(factory)
        """
    )
    result = session.runpytest_inprocess()
    result.assert_outcomes(passed=7, errors=1)
    result.stdout.fnmatch_lines(["*UsageError: rnncallbacks_budget: expected one number of microseconds or None*"])


def test_nothing_of_the_library_is_imported_before_a_fixture_is_used():
    tree = ast.parse(inspect.getsource(rnncallbacks_pytest))
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imported}
    assert names == {"__future__", "collections.abc", "pathlib", "typing", "pytest"}
