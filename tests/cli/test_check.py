"""``rnncallbacks check``: what would run, and what is wrong."""

from pathlib import Path

from click.testing import CliRunner

from rnncallbacks.cli.commands import rnncallbacks


def call(*arguments: str):
    return CliRunner().invoke(rnncallbacks, list(arguments))


def test_check_says_what_would_run_in_which_order():
    Path("rnncallbacks.toml").write_text(
        "[plugins.progress]\n[plugins.gradient_clipping]\nmax_norm = 2.0\n[plugins.warmup]\nenabled = false\n"
    )
    done = call("check", "-p", "loss_averaging")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "rnncallbacks.toml: 3 plugins, called in this order:",
        "  1. progress  Progress(refresh=0.1, summary=True)  by rnncallbacks.toml",
        "  2. gradient_clipping  GradientClipping(max_norm=2.0, mode='global')  by rnncallbacks.toml",
        "  3. loss_averaging  LossAveraging(weight='batch')  by -p",
        "     warmup  disabled by rnncallbacks.toml: enabled = false",
    ]


def test_options_of_the_command_line_are_checked_too():
    Path("rnncallbacks.toml").write_text("[plugins.gradient_clipping]\nmax_norm = 2.0\n")
    assert "GradientClipping(max_norm=0.5" in call("check", "-o", "gradient_clipping.max_norm=0.5").output
    done = call("check", "-o", "gradient_clipping.max_nrom=0.5")
    assert done.exit_code == 1
    assert "-o: gradient_clipping.max_nrom: there is no such option; did you mean 'max_norm'?" in done.output


def test_check_lists_all_problems(run_command):
    path = Path("my.toml")
    path.write_text("[train]\nepoch = 3\n[plugins.progres]\n[plugins.gradient_clipping]\nmax_norm = 0\n")
    done = run_command("check", "my.toml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "error: my.toml: [train] epoch: there is no such option; did you mean 'epochs'?",
        "error: my.toml: [plugins.progres]: no plugin 'progres' is installed; did you mean 'progress'?",
        "error: my.toml: [plugins.gradient_clipping] max_norm: expected a number > 0, got 0.0",
    ]


def test_check_refuses_what_a_run_would_refuse(install):
    install(
        "acme",
        {"silent": "acme_silent:Silent"},
        acme_silent="class Silent:\n    def on_epoch_end(self, run):\n        pass\n",
    )
    done = call("check", "-p", "silent")
    assert done.exit_code == 1
    assert "on_epoch_end has no @hookimpl" in done.stderr


def test_check_without_a_configuration():
    done = call("check")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: no configuration: looked for rnncallbacks.toml")
    assert "hint: write a line [plugins.hidden_state_reset]" in done.stderr


def test_check_of_a_configuration_without_plugins():
    Path("rnncallbacks.toml").touch()
    assert call("check").output == "rnncallbacks.toml: no plugin\n"
