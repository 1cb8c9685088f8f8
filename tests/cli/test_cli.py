"""The command line, as somebody at a terminal meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from rnncallbacks.cli.commands import rnncallbacks
from rnncallbacks.cli.toml_text import toml_table
from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.config.configuration import RECOMMENDED
from rnncallbacks.config.discovery import find_plugins
from rnncallbacks.config.plugin_options import options_of
from rnncallbacks.core.hookspecs import HOOKS, hookimpl
from rnncallbacks.errors import ConfigurationError
from rnncallbacks.rnn.model import RecurrentModel

COMMAND = [sys.executable, "-c", "from rnncallbacks.cli import main; main()"]
SMALL = ["--epochs", "2", "--hidden-size", "16", "--batch-size", "4", "--sample", "30"]
TEXT = "it is what it is, and that is that. " * 60


class Stopping:
    """Ends a run at once, and says so."""

    @hookimpl
    def on_fit_start(self, run) -> None:
        run.stop("asked to")


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    """Neither the configuration nor the environment of whoever runs the tests takes part."""
    monkeypatch.chdir(tmp_path)
    for variable in ("RNNCALLBACKS_PLUGINS", "RNNCALLBACKS_DISABLE", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    Path("text.txt").write_text(TEXT)


def call(*arguments: str):
    return CliRunner().invoke(rnncallbacks, list(arguments))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)


def train(*arguments: str):
    """A run of the main job on a small text, in this process."""
    return call("train", "text.txt", *SMALL, *arguments)


def history(folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]


# The command


def test_the_console_script_is_the_main_function():
    (script,) = entry_points(group="console_scripts", name="rnncallbacks")
    assert script.value == "rnncallbacks.cli:main"


def test_version():
    done = run("--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"rnncallbacks {version('rnncallbacks')}\n", "", 0)


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_libraries_it_names_the_extra(missing):
    script = f"import sys; sys.modules[{missing!r}] = None; from rnncallbacks.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: the command line needs {missing}: pip install 'rnncallbacks[cli]'\n"


def test_help_names_every_command_and_every_setting_with_its_default():
    assert set(rnncallbacks.commands) == {"train", "plugins", "check", "doctor", "report", "explain"}
    text = " ".join(call("train", "--help").output.split())
    for option in options_of(Settings).values():
        if option.name != "text":
            assert f"--{option.name.replace('_', '-')} " in text
            assert f"[default: {option.default}]" in text


# The main job


def test_the_main_job_beats_the_trigram_model_on_the_embedded_text():
    done = run("train", "--epochs", "3", "--hidden-size", "160", "--run-dir", "out")
    assert done.returncode == 0, done.stderr
    losses = dict(re.findall(r"  (bigram model|trigram model|this network) +([\d.]+)", done.stdout))
    bigram, trigram, network = (float(losses[name]) for name in ("bigram model", "trigram model", "this network"))
    assert network < trigram < bigram
    margin = float(re.search(r"it beats the trigram model by ([\d.]+)", done.stdout)[1])
    assert margin == pytest.approx(trigram - network, abs=2e-4)  # each of the two is rounded to four digits
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3
    for word in ("train ", "val ", "lr ", "grad norm ", "clipped "):
        assert all(word in line for line in lines)
    # Averages by token, as the n-gram models are scored: the last epoch's is the final loss.
    assert history("out")[-1]["val_loss"] == pytest.approx(network, abs=1e-3)
    assert "\x1b" not in done.stdout


def test_the_run_folder_holds_all_of_the_run():
    done = train("--run-dir", "out")
    assert done.exit_code == 0, done.output
    assert {path.name for path in Path("out").iterdir()} == {
        "alarms.jsonl",
        "config.toml",
        "diagnosis.json",
        "history.csv",
        "history.jsonl",
        "model.safetensors",
        "sample.txt",
        "vocabulary.json",
    }
    assert [row["epoch"] for row in history("out")] == [1, 2]
    vocabulary = json.loads(Path("out/vocabulary.json").read_text())
    assert sorted(vocabulary["tokens"]) == sorted(set(TEXT))
    arrays = load_file("out/model.safetensors")
    model = RecurrentModel(16, vocab_size=len(vocabulary["tokens"]))
    assert {name: array.shape for name, array in arrays.items()} == {
        name: array.shape for name, array in model.parameters.items()
    }
    sample = Path("out/sample.txt").read_text()
    assert len(sample) == 40 + 30
    assert sample in done.output
    assert sample[:40] in TEXT


def test_the_configuration_in_the_run_folder_repeats_the_run_bit_for_bit():
    assert train("--run-dir", "one", "--seed", "3", "-p", "no:divergence_alarm").exit_code == 0
    again = call("train", "--config", "one/config.toml", "--run-dir", "two")
    assert again.exit_code == 0, again.output
    for name in ("history.csv", "model.safetensors", "sample.txt", "vocabulary.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    one, two = (tomllib.loads(Path(name, "config.toml").read_text()) for name in ("one", "two"))
    assert one == {**two, "plugins": {**two["plugins"]}}
    assert one["plugins"]["divergence_alarm"] == {"enabled": False}
    assert one["plugins"]["gradient_clipping"] == {"max_norm": 1.0, "mode": "global"}


@pytest.mark.parametrize("told", [["--top-k", "1"], ["--top-p", "0.001"]])
def test_a_sample_of_the_likeliest_characters(told):
    assert train("--run-dir", "out", "--temperature", "9", *told).exit_code == 0
    tokens = json.loads(Path("out/vocabulary.json").read_text())["tokens"]
    numbers = [tokens.index(character) for character in Path("out/sample.txt").read_text()]
    model = RecurrentModel.load("out/model.safetensors")
    logits, _ = model.predict(np.array([numbers]).T, model.zero_state(1))
    assert logits[39:-1, 0].argmax(axis=1).tolist() == numbers[40:]


@pytest.mark.parametrize("threads", [1, 2])
def test_matrix_products_run_on_as_many_threads_as_were_asked_for(install, threads):
    install(
        "acme",
        {"counting": "acme_counting:Counting"},
        acme_counting="""
            from rnncallbacks.core.hookspecs import hookimpl
            from threadpoolctl import threadpool_info

            class Counting:
                @hookimpl
                def on_epoch_end(self, run):
                    run.log(threads=max(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"))
            """,
    )
    train("--run-dir", "out", "--threads", str(threads), "-p", "counting")
    assert {row["threads"] for row in history("out")} == {min(threads, os.cpu_count() or 1)}


@pytest.mark.parametrize(
    ("arguments", "network", "names"),
    [
        ((), "8 tanh units", {"rnn.weight_hh_l0"}),
        (("--cell", "lstm"), "8 LSTM units", {"rnn.weight_hh_l0"}),
        (
            ("--cell", "gru", "--num-layers", "2", "--dropout", "0.3"),
            "2 layers of 8 GRU units",
            {"rnn.weight_hh_l0", "rnn.weight_hh_l1"},
        ),
    ],
)
def test_the_network_is_the_one_that_was_asked_for(arguments, network, names):
    done = train("--run-dir", "out", "--hidden-size", "8", *arguments)
    assert done.exit_code == 0, done.output
    assert f"network     {network}, " in done.output
    model = RecurrentModel.load("out/model.safetensors")
    assert names == {name for name in model.parameters if "weight_hh" in name}
    assert model.dropout == (0.3 if "--dropout" in arguments else 0.0)


def test_dropout_without_a_second_layer_is_refused():
    done = train("--run-dir", "out", "--dropout", "0.3")
    assert done.exit_code == 2
    assert "dropout acts between layers, and num_layers is 1" in done.output


def test_another_seed_is_another_run():
    for seed in ("1", "2"):
        assert train("--run-dir", seed, "--seed", seed).exit_code == 0
    assert history("1")[-1]["train_loss"] != history("2")[-1]["train_loss"]


def test_without_a_configuration_the_recommended_plugins_run_with_a_schedule_that_fits():
    train("--run-dir", "out")
    tables = tomllib.loads(Path("out/config.toml").read_text())["plugins"]
    assert list(tables) == [*RECOMMENDED, "one_cycle", "progress", "history_log"]
    batches = -(-(round(len(TEXT) * 0.9) - 1) // 4 // 50)
    assert tables["one_cycle"]["steps"] == 2 * batches


def test_a_configuration_found_upward_takes_the_place_of_the_default_plugins(monkeypatch):
    Path("rnncallbacks.toml").write_text("[train]\nepochs = 1\n[plugins.loss_averaging]\n")
    Path("below").mkdir()
    monkeypatch.chdir("below")
    done = call("train", "../text.txt", "--hidden-size", "8", "--run-dir", "out")
    assert done.exit_code == 0, done.output
    assert "plugins     loss_averaging, progress, history_log" in done.output
    assert len(history("out")) == 1


def test_the_command_line_wins_over_the_table_train():
    Path("rnncallbacks.toml").write_text("[train]\nepochs = 9\n")
    done = train("--run-dir", "out")
    assert "2 epochs" in done.output


@pytest.mark.parametrize("off", ["progress", "history_log"])
def test_what_always_runs_can_be_taken_out(off):
    done = train("--run-dir", "out", "-p", f"no:{off}")
    assert done.exit_code == 0, done.output
    assert Path("out/history.jsonl").exists() is (off != "history_log")
    assert ("epoch 1/2" in done.output) is (off != "progress")


def test_a_plugin_of_somebody_else_acts_when_it_is_asked_for(install):
    source = f"from rnncallbacks.core.hookspecs import hookimpl\n\n\n{_source(Stopping)}"
    install("acme", {"stopping": "acme_stopping:Stopping"}, acme_stopping=source)
    done = train("--run-dir", "out", "-p", "stopping")
    assert "stopped: asked to" in done.output
    assert "It was stopped: asked to." in done.output
    assert len(history("out")) == 0


def _source(owner: type) -> str:
    import inspect

    return inspect.getsource(owner)


def test_a_network_that_learned_too_little_is_told_to_have():
    done = train("--run-dir", "out")
    assert "The network does not beat the trigram model" in done.output
    assert done.exit_code == 0


def test_a_network_that_diverged_raises_an_alarm_and_says_so():
    done = run("train", "text.txt", *SMALL, "--epochs", "9", "--learning-rate", "100", "--run-dir", "out")
    assert done.returncode == 1
    assert "The network diverged: lower --learning-rate." in done.stdout
    # The cause is told at once, and what follows from it below it when the run is over.
    assert done.stderr.startswith("RNN501 the learning rate is too high: ")
    assert "RNN602" not in done.stderr
    assert "stopped: RNN602" in done.stdout
    assert re.search(r"^  RNN501 .*\n(    .*\n)*    consequence: RNN602 divergence: ", done.stdout, re.MULTILINE)
    alarms = [json.loads(line) for line in Path("out/alarms.jsonl").read_text().splitlines()]
    assert {(alarm["code"], alarm["explained_by"]) for alarm in alarms} >= {("RNN501", None), ("RNN602", "RNN501")}


def test_divergence_is_an_exit_code_without_any_alarm_too():
    Path("plain.toml").write_text("[plugins.loss_averaging]\n")
    done = train("--config", "plain.toml", "--learning-rate", "100", "--run-dir", "out")
    assert done.exit_code == 1
    assert "stopped: " not in done.output
    assert "The network diverged: lower --learning-rate." in done.output


def test_a_healthy_run_ends_in_a_short_diagnosis():
    done = train("--run-dir", "out")
    lines = done.output.splitlines()
    diagnosis = lines[lines.index("epoch 2/2") if "epoch 2/2" in lines else 0 :]
    (passed,) = [line for line in diagnosis if line.startswith("checks passed: ")]
    assert int(passed.rpartition(" ")[2]) > 10
    assert "not checked" in diagnosis
    assert "fired" not in diagnosis
    assert "noticed" not in diagnosis


def test_control_characters_of_the_text_do_not_reach_the_terminal():
    Path("text.txt").write_text("\x1b[2Jred" * 300)
    done = train("--run-dir", "out")
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "\x1b" in Path("out/sample.txt").read_text()


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
def test_ctrl_c_keeps_history_and_model():
    Path("long.txt").write_text(TEXT * 20)
    process = subprocess.Popen(
        [*COMMAND, "train", "long.txt", "--epochs", "10000", "--hidden-size", "16", "--run-dir", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        # The line of the second epoch comes when the first is done with for good.
        if re.match(r"epoch +2/", line):
            process.send_signal(signal.SIGINT)
            break
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    rows = history("out")
    assert re.search(r"interrupted after \d+ whole epochs?; history and model as they stand are in out", said)
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows
    assert load_file("out/model.safetensors")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing.txt"], "missing.txt: there is no such file"),
        (["tex.txt"], "tex.txt: there is no such file; did you mean 'text.txt'?"),
        (["."], ".: expected a text file, got a directory"),
        (["binary.txt"], "binary.txt: expected UTF-8 text, got byte 0xff at offset 2: "),
        (["empty.txt"], "empty.txt: the file has no text: 0 bytes"),
        (["tiny.txt"], "tiny.txt: too short: "),
        (["short.txt"], "short.txt: too short: tokens: 18 tokens are too few for batch_size 32: "),
        (["text.txt", "--run-dir", "text.txt"], "--run-dir: expected a directory, got the file text.txt"),
        (["text.txt", "--run-dir", "used"], "--run-dir: used holds a run already; name another, or remove it"),
        (["text.txt", "--run-dir", "text.txt/out"], "text.txt/out/config.toml: cannot be written: Not a directory"),
        (["text.txt", "--epochs", "0"], "--epochs: expected an integer >= 1, got 0"),
        (["text.txt", "--held-out", "1"], "--held-out: expected a number > 0 and < 1, got 1.0"),
        (["text.txt", "-p", "progres"], "enable: no plugin 'progres' is installed; did you mean 'progress'?"),
        (["text.txt", "-p", "step_decay"], "enable: step_decay every: is required: expected int, got nothing"),
        (["text.txt", "--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["text.txt", "--config", "bad.toml"], "bad.toml: [train] epochs: expected int, got '5' (str)"),
    ],
)
def test_bad_input_gives_one_line_and_no_traceback(arguments, expected):
    Path("binary.txt").write_bytes(b"ab\xff")
    Path("empty.txt").touch()
    Path("tiny.txt").write_text("ab")
    Path("short.txt").write_text("to be or not to be!?")
    Path("bad.toml").write_text("[train]\nepochs = '5'\n")
    Path("used").mkdir()
    Path("used/config.toml").touch()
    done = call("train", "--batch-size", "32", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1
    assert not Path("runs").exists()


def test_all_bad_settings_come_at_once():
    done = call("train", "--epochs", "0", "--seq-len", "-1", "--temperature", "nan")
    assert done.stderr.splitlines() == [
        "error: --epochs: expected an integer >= 1, got 0",
        "error: --seq-len: expected an integer >= 1, got -1",
        "error: --temperature: expected a number > 0, got nan",
    ]


def test_an_error_in_a_plugin_says_in_which(install):
    install(
        "acme",
        {"refusing": "acme_refusing:Refusing"},
        acme_refusing="""
            from rnncallbacks.errors import OptionError
            from rnncallbacks.core.hookspecs import hookimpl

            class Refusing:
                @hookimpl
                def on_epoch_start(self, run):
                    raise OptionError("not today")
            """,
    )
    done = train("--run-dir", "out", "-p", "refusing")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[0] == "error: not today"
    assert "plugin 'refusing', hook on_epoch_start, epoch 1" in done.stderr


def test_a_run_of_its_own_gets_a_folder_of_its_own():
    for _ in range(2):
        assert train().exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


# plugins


def test_the_listing_shows_name_package_hooks_and_options_of_every_plugin():
    shown = call("plugins").output.replace("\xa0", " ")
    assert "configuration: no configuration file" in shown
    for found in find_plugins():
        assert f"{found.name}  {found.distribution} {found.version}  not enabled" in shown
    text = " ".join(shown.split())
    assert "hooks on_epoch_start, on_backward, on_epoch_end options max_norm = 5.0, mode = 'global'" in text
    assert "options steps (required), interval = 'batch'" in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("flags", [[], ["-v"]])
def test_the_listing_fits_the_terminal(monkeypatch, width, flags):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(len(line) for line in call("plugins", *flags).output.splitlines()) <= width


def test_the_verbose_listing_adds_types_module_and_purpose():
    shown = call("plugins", "-v").output.replace("\xa0", " ")
    assert "max_norm: float = 5.0" in shown
    assert "mode: Literal['global', 'array', 'value'] = 'global'" in shown
    assert "rnncallbacks.plugins.remedies.gradient_clipping:GradientClipping" in shown
    assert "Clips gradients in place" in shown


def test_the_listing_says_what_is_enabled_and_why(install, monkeypatch):
    install("acme", {"loud": "acme_loud:Loud"}, acme_loud="raise AssertionError('imported')")
    Path("rnncallbacks.toml").write_text(
        "[plugins.gradient_clipping]\nmax_norm = 2.0\n"
        "[plugins.by_value]\nplugin = 'gradient_clipping'\nmode = 'value'\n"
        "[plugins.loud]\nenabled = false\n"
        "[plugins.elsewhere]\n"
        "[plugins.warmup]\nstep = 3\n"
    )
    monkeypatch.setenv("RNNCALLBACKS_PLUGINS", "progress")
    done = call("plugins", "-p", "loss_averaging", "-p", "no:gradient_cliping")
    shown = done.output.replace("\xa0", " ")
    for line in (
        "gradient_clipping  rnncallbacks 0.1.0  enabled by rnncallbacks.toml",
        "max_norm = 2.0 (default 5.0)",
        "by_value (gradient_clipping)  rnncallbacks 0.1.0  enabled by rnncallbacks.toml",
        "loud  acme 1.0  disabled by rnncallbacks.toml: enabled = false; not imported",
        "elsewhere  failed it is not installed",
        "warmup  rnncallbacks 0.1.0  failed",
        "step: there is no such option; did you mean 'steps'?",
        "progress  rnncallbacks 0.1.0  enabled by RNNCALLBACKS_PLUGINS",
        "loss_averaging  rnncallbacks 0.1.0  enabled by -p",
        "problem disable: no plugin 'gradient_cliping' is installed; did you mean 'gradient_clipping'?",
    ):
        assert line.replace("0.1.0", version("rnncallbacks")) in shown
    assert done.exit_code == 0
    assert "acme_loud" not in sys.modules


def test_the_listing_shows_a_broken_plugin_and_a_contested_name_beside_all_others(install):
    install("acme-broken", {"broken": "acme_broken:Broken"}, acme_broken="import nowhere_to_be_found")
    install("acme-rival", {"progress": "acme_rival:Progress"})
    shown = " ".join(call("plugins").output.split())
    assert "broken acme-broken 1.0 failed plugin 'broken' of acme-broken 1.0 cannot be loaded" in shown
    assert "No module named 'nowhere_to_be_found'" in shown
    assert "progress acme-rival 1.0 failed plugin 'progress' is claimed by two distributions" in shown
    assert "loss_averaging rnncallbacks" in shown


def test_hooks_are_listed_in_the_order_of_the_loop():
    for line in call("plugins").output.splitlines():
        if line.strip().startswith("hooks"):
            hooks = re.findall(r"on_\w+", line)
            assert hooks == sorted(hooks, key=list(HOOKS).index)


# check


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


def test_check_lists_all_problems():
    path = Path("my.toml")
    path.write_text("[train]\nepoch = 3\n[plugins.progres]\n[plugins.gradient_clipping]\nmax_norm = 0\n")
    done = run("check", "my.toml")
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


# TOML

SCALARS = st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False)


@given(
    st.dictionaries(
        st.text(min_size=1), SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=2)
    )
)
def test_what_is_written_as_toml_reads_back_the_same(values):
    assert tomllib.loads(toml_table("table", values))["table"] == values


def test_the_settings_survive_a_run_folder():
    settings = Settings(text=Path('a "quoted" name.txt'), learning_rate=1e-5, epochs=3)
    table = tomllib.loads(toml_table("train", attrs.asdict(settings)))["train"]
    assert Settings(**{**table, "text": Path(table["text"])}) == settings


def test_settings_out_of_range_are_refused():
    with pytest.raises((ConfigurationError, ValueError), match="epochs"):
        Settings(epochs=0)


def test_a_run_that_fails_keeps_its_model(tmp_path: Path) -> None:
    (tmp_path / "stop.toml").write_text(
        '[plugins.loss_averaging]\n[plugins.plateau_alarm]\npatience = 1\nmin_delta = 50.0\naction = "raise"\n'
    )
    done = train("--run-dir", "out", "--config", str(tmp_path / "stop.toml"), "--epochs", "4")
    assert done.exit_code == 1
    assert "the run failed; history and model as they stand are in out" in done.stdout
    assert Path("out/model.safetensors").exists()


def test_a_checkpoint_lies_in_the_run_folder_and_no_other_run_takes_it_up(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert train("--run-dir", folder, "-p", "checkpoint").exit_code == 0
        assert Path(folder, "checkpoint.safetensors").exists()
        assert len(history(folder)) == 2
