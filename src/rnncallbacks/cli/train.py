"""``rnncallbacks train``: train a character network on a text, and compare it with n-gram models of the same text."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rnncallbacks.alarms.verdict import counted
from rnncallbacks.cli.command_options import PluginSwitches, config_option, switches_option
from rnncallbacks.cli.corpus import Corpus
from rnncallbacks.cli.error_output import INTERRUPTED
from rnncallbacks.cli.plugin_costs import plugin_cost_lines
from rnncallbacks.cli.rank_launcher import run_on_ranks, silence_other_ranks
from rnncallbacks.cli.sample import write_text
from rnncallbacks.cli.train_settings import Settings, merge_settings, settings_options
from rnncallbacks.cli.training_folder import (
    CONFIGURATION,
    MODEL,
    VOCABULARY,
    check_folder,
    configuration_to_resume,
    new_run_folder,
    repeating_configuration,
    write_run_file,
)
from rnncallbacks.config.configuration import RECOMMENDED, Configuration
from rnncallbacks.core.owned_files import OwnedFiles
from rnncallbacks.core.run import Run
from rnncallbacks.errors import OptionError
from rnncallbacks.parallel.communicator import connect
from rnncallbacks.parallel.orderly_exit import orderly_exit
from rnncallbacks.reporting.terminal import terminal_console, write_field, write_line
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.rnn.sampling import sample
from rnncallbacks.training.trainer import Trainer

LAST_FOR_THE_RUN = ("one_cycle", "cosine_decay", "polynomial_decay")
"""Schedules whose ``steps`` are by default all training batches of the run."""
PROMPT_LENGTH = 40
"""Characters of the held-out text that begin the sample."""
DIVERGENCE_CODES = ("RNN403", "RNN602")
"""Alarms that stop a run whose loss is not finite or has risen."""
DIVERGED_LOSS_RATIO = 2.0
"""Mean training loss of the last epoch, relative to that of a uniform guess, above which a run that no alarm stopped
has diverged. Chosen by eye: overfitting raises the held-out loss and not this one."""


@click.command(short_help="Train a character network on a text.")
@click.argument("text", metavar="[FILE.txt]", required=False, type=click.Path(path_type=Path))
@settings_options
@click.option("--run-dir", type=click.Path(path_type=Path), help="Folder of the run's files. [default: runs/<time>]")
@click.option("--resume", type=click.Path(path_type=Path), help="Folder of a run to continue with its configuration.")
@click.option(
    "--ranks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="INTEGER",
    help="Processes that share each batch, on this machine.",
)
@click.option("--profile-plugins", is_flag=True, help="Measure the plugins, and print what each costs in each hook.")
@config_option
@switches_option
def train(
    run_dir: Path | None,
    resume: Path | None,
    ranks: int,
    profile_plugins: bool,
    config: Path | None,
    switches: PluginSwitches,
    **given: Any,
) -> None:
    """Train a character RNN on a text, and compare it with n-gram models of the same text.

    FILE.txt is a text in UTF-8. Without it, the text is the help topics that come with Python.
    """
    if resume is not None:
        if run_dir is not None or config is not None:
            other = "--run-dir" if run_dir is not None else "--config"
            raise OptionError(f"--resume: the folder has its own configuration and files, so {other} cannot be given")
        run_dir, config = resume, configuration_to_resume(resume)
    has_folder = run_dir is not None
    run_dir = new_run_folder(run_dir)
    communicator = connect()
    silence_other_ranks(communicator)
    configuration = _read_plugins(config, switches, {} if communicator is None else {"data_parallel": {}})
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = merge_settings(chosen, configuration.settings, configuration.where)
    if communicator is not None:
        run_dir = communicator.broadcast_object(run_dir)
    elif ranks > 1:
        if ranks > settings.batch_size:
            raise OptionError(f"--ranks: expected at most the {settings.batch_size} rows of a batch, got {ranks}")
        sys.exit(run_on_ranks(ranks, [*sys.argv[1:], *([] if has_folder else ["--run-dir", str(run_dir)])]))
    rank = None if communicator is None else communicator.rank
    # A second thread gains nothing on matrix products as small as the default ones. On a busy machine, threads that
    # wait for each other make them ten times slower.
    files = OwnedFiles()
    try:
        with threadpool_limits(settings.threads, user_api="blas"):
            code = train_on_text(
                configuration,
                settings,
                run_dir,
                files,
                resume=resume is not None,
                rank=rank,
                profile_plugins=profile_plugins,
            )
    except BaseException as error:
        if (at_exit := orderly_exit()) is not None:
            at_exit.fail(error)
        raise
    finally:
        files.release()
    sys.exit(code)


def _read_plugins(config: Path | None, switches: PluginSwitches, more: dict[str, Any]) -> Configuration:
    """The plugins of the configuration, not made yet; without one, the recommended plugins and a schedule.

    ``more`` are tables of plugins that are added if the configuration does not have them.
    """
    defaults: dict[str, dict[str, Any]] = {name: {} for name in RECOMMENDED}
    defaults["gradient_clipping"]["max_norm"] = 1.0
    defaults["loss_averaging"]["weight"] = "token"  # the n-gram models are averaged by character too
    defaults["one_cycle"] = {}
    return switches.read(
        config,
        fallback={"plugins": defaults},
        additional={**more, "progress": {}, "history_log": {}, "checkpoint": {}},
    )


def train_on_text(
    configuration: Configuration,
    settings: Settings,
    run_dir: Path,
    files: OwnedFiles,
    *,
    resume: bool,
    rank: int | None = None,
    profile_plugins: bool = False,
) -> int:
    """Train, compare and sample, and return the exit code. The caller releases the files.

    With ``resume``, the folder may hold a run of other settings, or one that has ended. Of several processes, that of
    ``rank`` 0 alone writes files.
    """
    writes = not rank
    corpus = Corpus.from_settings(settings)
    train_loader, held_out_loader = corpus.loaders(settings.batch_size, settings.seq_len)
    baselines = corpus.baselines()
    _add_steps(configuration, settings.epochs * len(train_loader))
    plugins = configuration.make()
    model = RecurrentModel(
        settings.hidden_size,
        vocab_size=len(corpus.vocabulary),
        cell=settings.cell,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
        seed=settings.seed,
    )
    if writes:
        files.own(run_dir / CONFIGURATION)
        repeating = repeating_configuration(configuration, settings, corpus, run_dir)
        if check_folder(run_dir, repeating, corpus.digest, resume=resume):
            write_run_file(run_dir, CONFIGURATION, repeating)
        vocabulary = json.dumps(attrs.asdict(corpus.vocabulary), ensure_ascii=False)
        write_run_file(run_dir, VOCABULARY, vocabulary + "\n")
    _announce(
        {
            "text": corpus,
            "network": f"{_architecture(settings)}, {model.parameters.flat.size:,} parameters, float32",
            "training": f"Adam, {counted(settings.epochs, 'epoch')} of {len(train_loader)} batches, "
            f"{settings.batch_size} x {settings.seq_len} characters each",
            "plugins": ", ".join(plugins) or "none",
            "run folder": run_dir,
        }
    )
    trainer = Trainer(
        model,
        Adam(),
        plugins=plugins,
        learning_rate=settings.learning_rate,
        directory=run_dir,
        facts={"text": str(corpus), "seq_len": settings.seq_len, "seed": settings.seed},
        profile_plugins=profile_plugins,
    )
    interrupted = False
    try:
        trainer.fit(train_loader, held_out_loader, max_epochs=settings.epochs, progress=False)
    except KeyboardInterrupt:
        interrupted = True
    except Exception:
        click.echo(f"the run failed; history and model so far are in {run_dir}")
        raise
    finally:
        # Without a training batch, a file of an earlier process may hold a trained model.
        if writes and trainer.run is not None and trainer.run.step:
            model.save(run_dir / MODEL)
    if profile_plugins and trainer.run is not None:
        write_line(terminal_console())
        for line in plugin_cost_lines(trainer.run.plugin_seconds, trainer.run.step):
            click.echo(line)
    if interrupted:
        epochs = counted(len(trainer.run.history) if trainer.run is not None else 0, "whole epoch")
        click.echo(f"interrupted after {epochs}; history and model so far are in {run_dir}")
        click.echo(f"to continue: rnncallbacks train --resume {run_dir}")
        return INTERRUPTED
    assert trainer.run is not None
    if not writes:
        return 0
    loss = _evaluate(model, held_out_loader)
    has_diverged = not math.isfinite(loss) or _has_diverged(trainer.run, corpus.uniform_loss)
    console = terminal_console()
    write_line(console)
    for line in _comparison(loss, baselines, has_diverged, trainer.run):
        write_line(console, line)
    if has_diverged:
        return 1
    _print_sample(model, corpus, settings, run_dir)
    return 0


def _add_steps(configuration: Configuration, steps: int) -> None:
    """Give the schedules that last for the run its number of training batches, unless the configuration has one."""
    for table in configuration.enabled():
        if table.plugin in LAST_FOR_THE_RUN and table.options.get("interval", "batch") == "batch":
            table.options.setdefault("steps", steps)


def _announce(fields: Mapping[str, object]) -> None:
    console = terminal_console()
    width = max(map(len, fields))
    for name, value in fields.items():
        write_field(console, name.ljust(width + 1), str(value))
    write_line(console)


def _architecture(settings: Settings) -> str:
    units = f"{settings.hidden_size} {'tanh' if settings.cell == 'vanilla' else settings.cell.upper()} units"
    return units if settings.num_layers == 1 else f"{settings.num_layers} layers of {units}"


def _evaluate(model: RecurrentModel, loader: StreamLoader) -> float:
    """Mean loss in nats per character. The plugins' averages may have other weights."""
    total, tokens, state = 0.0, 0, None
    for batch in loader:
        loss, state = model.evaluate(batch, model.zero_state(batch.size) if state is None else state)
        total += loss * batch.tokens
        tokens += batch.tokens
    return total / tokens


def _has_diverged(run: Run, uniform_loss: float) -> bool:
    if run.outcome is not None and run.outcome.code in DIVERGENCE_CODES:
        return True
    last_train_loss = run.history.rows[-1].get("train_loss") if run.history.rows else None
    return isinstance(last_train_loss, float) and not last_train_loss <= DIVERGED_LOSS_RATIO * uniform_loss


def _comparison(loss: float, baselines: Mapping[str, float], has_diverged: bool, run: Run) -> list[str]:
    lines = ["held-out loss, nats per character"]
    lines += [f"  {name:<14} {value:.4f}" for name, value in {**baselines, "this network": loss}.items()]
    best = min(baselines, key=lambda name: baselines[name])
    margin = baselines[best] - loss
    causes = [cause for cause in run.diagnosis.causes if cause.severity != "info"]
    if has_diverged:
        lines.append("The network diverged: lower --learning-rate.")
    elif margin > 0:
        lines.append(f"The network learned: it beats the {best} by {margin:.4f} nats per character.")
    else:
        advice = "Give it more --epochs, or more text."
        if run.stop_reason is not None:
            advice = f"It was stopped: {run.stop_reason}."
        elif causes:
            advice = f"A cause was found: {causes[0].code} {causes[0].cause}."
        lines.append(f"The network does not beat the {best}: it is {-margin:.4f} nats per character worse. {advice}")
    return lines


def _print_sample(model: RecurrentModel, corpus: Corpus, settings: Settings, run_dir: Path) -> None:
    prompt = corpus.held_out[:PROMPT_LENGTH]
    drawn = sample(
        model,
        prompt,
        settings.sample,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        seed=settings.seed,
    )
    text = "".join(corpus.vocabulary.decode([*prompt.tolist(), *drawn]))
    write_run_file(run_dir, "sample.txt", text)
    if settings.sample:
        click.echo(f"\nsample, the first {len(prompt)} characters given:\n")
        write_text(text + "\n")
