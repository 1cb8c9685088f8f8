"""The commands and their options; what they do stands in the modules beside this one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from rnncallbacks.alarms.alarm import AlarmRaised
from rnncallbacks.cli.train_settings import Settings, check_table
from rnncallbacks.config.configuration import read_configuration
from rnncallbacks.config.plugin_options import one_line, options_of
from rnncallbacks.core.plugin_manager import Plugins
from rnncallbacks.errors import ConfigurationError, RnnCallbacksError

Command = TypeVar("Command", bound=Callable[..., Any])

HELP = {
    "epochs": "Passes over the text.",
    "batch_size": "Parts of the text side by side.",
    "seq_len": "Characters per step of truncated backpropagation.",
    "cell": "The recurrent cell: vanilla, lstm or gru.",
    "hidden_size": "Units of each layer.",
    "num_layers": "Recurrent layers, one above the other.",
    "dropout": "Probability with which what a layer hands to the next is zeroed in training.",
    "learning_rate": "At its highest.",
    "seed": "Of everything random.",
    "held_out": "Share of the text, its end, that is not trained on.",
    "threads": "Of matrix products; more pay for large networks on idle cores.",
    "sample": "Characters to generate at the end.",
    "temperature": "Of the sample: lower is likelier.",
    "top_k": "Of the sample: draw from so many of the likeliest characters. None: from all.",
    "top_p": "Of the sample: draw from the fewest characters that have this probability together.",
}


class Group(click.Group):
    """Prints errors of the library without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RnnCallbacksError as error:
            complain(error)
            ctx.exit(1 if isinstance(error, AlarmRaised) else 2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)


def complain(error: RnnCallbacksError) -> None:
    """Print each problem on a line of its own, and where it arose."""
    problems = error.problems if isinstance(error, ConfigurationError) else [one_line(error)]
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    if isinstance(error, ConfigurationError) and error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    for note in getattr(error, "__notes__", []):
        click.echo(f"  {note}", err=True)


def _plugin_options(command: Command) -> Command:
    """The options that say which configuration holds, and change it."""
    return click.option(
        "-p", "plugins", multiple=True, metavar="[no:]NAME", help="Add a plugin, or take one out. Repeatable."
    )(command)


def _settings_options(command: Command) -> Command:
    for option in reversed(options_of(Settings).values()):
        if option.name in HELP:
            name = f"--{option.name.replace('_', '-')}"
            text = f"{HELP[option.name]} [default: {option.default}]"
            kind = (get_args(option.annotation) or [option.annotation])[0]
            if not isinstance(kind, type):  # the first word of a Literal; the settings know them all
                kind = str
            command = click.option(name, option.name, type=kind, metavar=kind.__name__.upper(), help=text)(command)
    return command


def _switches(plugins: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The names to enable and those to disable."""
    disable = [name.removeprefix("no:") for name in plugins if name.startswith("no:")]
    return [name for name in plugins if not name.startswith("no:")], disable


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("rnncallbacks"), message="%(prog)s %(version)s")
def rnncallbacks() -> None:
    """Remedies, alarms and a NumPy trainer for recurrent networks whose loss will not go down."""


@rnncallbacks.command()
@click.argument("text", metavar="[FILE.txt]", required=False, type=click.Path(path_type=Path))
@_settings_options
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run's files go. [default: runs/<time>]")
@click.option("--config", type=click.Path(path_type=Path), help="A configuration. [default: found upward from here]")
@_plugin_options
def train(run_dir: Path | None, config: Path | None, plugins: tuple[str, ...], **given: Any) -> None:
    """Train a character RNN on a text, and compare it with n-gram models of the same text.

    FILE.txt is a text in UTF-8. Without it, the text is the help topics that come with Python.
    """
    from rnncallbacks.cli.train import train_on_text

    told = {name: value for name, value in given.items() if value is not None}
    sys.exit(train_on_text(told, run_dir, config, *_switches(plugins)))


@rnncallbacks.command()
@click.option("-v", "--verbose", is_flag=True, help="Each option on a line, with its type; and where the plugin is.")
@click.option("--config", type=click.Path(path_type=Path), help="A configuration. [default: found upward from here]")
@_plugin_options
def plugins(verbose: bool, config: Path | None, plugins: tuple[str, ...]) -> None:
    """List the installed plugins: their hooks and options, and which are enabled here, and why."""
    from rnncallbacks.cli.plugins import list_plugins

    enable, disable = _switches(plugins)
    list_plugins(read_configuration(config, enable=enable, disable=disable, otherwise={}), verbose=verbose)


@rnncallbacks.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@_plugin_options
def check(path: Path | None, plugins: tuple[str, ...]) -> None:
    """Check a configuration (default: the one found upward from here) without training."""
    enable, disable = _switches(plugins)
    try:
        configuration = read_configuration(path, enable=enable, disable=disable)
        configuration.problems += check_table(configuration.settings, configuration.where)
        made = configuration.make()
        Plugins(made)
    except RnnCallbacksError as error:
        complain(error)
        sys.exit(1)
    click.echo(f"{configuration.where}: " + (f"{len(made)} plugins, called in this order:" if made else "no plugin"))
    for number, (name, plugin) in enumerate(made.items(), 1):
        table = configuration.tables[name]
        click.echo(f"{number:>3}. {name}  {' '.join(repr(plugin).split())}  by {table.reason}")
    for table in configuration.tables.values():
        if not table.enabled:
            click.echo(f"     {table.name}  disabled by {table.reason}")


@rnncallbacks.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Print what an alarm code means, how it is found, and what to do.

    CODE is a code, such as RNN201, in upper or lower case. The beginning of codes, such as RNN2, lists them. Without
    it, all codes are listed.
    """
    from rnncallbacks.cli.explain import explain as explain_code

    explain_code(code)


# Options that follow the script are the script's.
@rnncallbacks.command(context_settings={"allow_interspersed_args": False})
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.option(
    "--batches",
    type=click.IntRange(min=1),
    default=300,
    metavar="INTEGER",
    help="Training batches after which a run is stopped. [default: 300]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; what the script prints goes to stderr.")
@click.option("--config", type=click.Path(path_type=Path), help="A configuration. [default: found upward from here]")
@_plugin_options
def doctor(
    script: Path, args: tuple[str, ...], batches: int, as_json: bool, config: Path | None, plugins: tuple[str, ...]
) -> None:
    """Run a training script with every guard on its runs, and say what is wrong with them.

    SCRIPT is run as it is, with ARGS as its arguments, but no run gets more than a number of batches. The exit code is
    1 if something was found, 0 if nothing was, and 2 if the script could not be run or has no Run in it.
    """
    from rnncallbacks.cli.doctor import examine

    enable, disable = _switches(plugins)
    sys.exit(examine(script, list(args), batches, config, enable, disable, as_json))


@rnncallbacks.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Where the page goes. [default: RUN_DIR/report.html]")
def report(run_dir: Path, output: Path | None) -> None:
    """Make a page of a run: curves, alarms with their evidence, checks, and the configuration.

    RUN_DIR is the folder that the plugin history_log wrote into; that of the command train is one. The page is one
    file, and opens without a network.
    """
    from rnncallbacks.cli.report import write_report

    click.echo(f"report: {write_report(run_dir, output)}")
