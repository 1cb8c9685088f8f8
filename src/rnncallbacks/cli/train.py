"""The main job: train a character network on a text, and compare it with n-gram models of the same text."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs
import click
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rnncallbacks.cli.train_settings import Settings, settle, toml_key, toml_table
from rnncallbacks.config.configuration import RECOMMENDED, Configuration, read_configuration
from rnncallbacks.config.plugin_options import options_of
from rnncallbacks.errors import DataError, OptionError
from rnncallbacks.files import write_atomically
from rnncallbacks.rnn.data.ngram import ngram_loss
from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text, read_text
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.rnn.sampling import sample
from rnncallbacks.rnn.validation import IntArray
from rnncallbacks.trainer import Trainer

INTERRUPTED = 130
PROMPT = 40
"""Characters of the held-out text that the sample goes on from."""


@attrs.frozen(eq=False)
class Corpus:
    """A text as it is trained on: the vocabulary is that of the whole text, so that every character has a number."""

    title: str
    digest: str
    vocabulary: Vocabulary
    train: IntArray
    held_out: IntArray

    @classmethod
    def from_settings(cls, settings: Settings) -> Corpus:
        text = embedded_text() if settings.text is None else read_text(settings.text)
        title = f"help topics of Python {platform.python_version()}" if settings.text is None else str(settings.text)
        vocabulary = Vocabulary.from_tokens(text)
        try:
            train, held_out = split(vocabulary.encode(text), settings.held_out)
        except DataError as error:
            raise _too_short(title, error) from None
        return cls(title, hashlib.sha256(text.encode("utf-8")).hexdigest(), vocabulary, train, held_out)

    def __str__(self) -> str:
        size = len(self.train) + len(self.held_out)
        return (
            f"{self.title}: {size:,} characters, {len(self.vocabulary)} different; "
            f"the last {len(self.held_out):,} are held out"
        )


def train_on_text(
    told: Mapping[str, Any], run_dir: Path | None, config: Path | None, enable: list[str], disable: list[str]
) -> int:
    """Do the main job, printing as it goes, and return the exit code."""
    run_dir = _new_run_dir(run_dir)
    configuration, settings = _configure(told, run_dir, config, enable, disable)
    # On products as small as these a second thread gains nothing, and on a busy machine threads that wait for each
    # other make them ten times slower.
    with threadpool_limits(settings.threads, user_api="blas"):
        return _train(configuration, settings, run_dir)


def _train(configuration: Configuration, settings: Settings, run_dir: Path) -> int:
    corpus = Corpus.from_settings(settings)
    try:
        train, held_out = _loaders(corpus, settings)
        baselines = {
            f"{name} model": ngram_loss(corpus.train, corpus.held_out, len(corpus.vocabulary), order)
            for name, order in (("bigram", 2), ("trigram", 3))
        }
    except DataError as error:
        raise _too_short(corpus.title, error) from None
    _complete(configuration, settings.epochs * len(train), run_dir)
    plugins = configuration.make()
    model = RecurrentModel(
        settings.hidden_size,
        vocab_size=len(corpus.vocabulary),
        cell=settings.cell,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
        seed=settings.seed,
    )
    _write(run_dir, "config.toml", _repeatable(configuration, settings, corpus, run_dir))
    _write(run_dir, "vocabulary.json", json.dumps(attrs.asdict(corpus.vocabulary), ensure_ascii=False) + "\n")
    for name, value in {
        "text": corpus,
        "network": f"{_architecture(settings)}, {model.parameters.flat.size:,} parameters, float32",
        "training": f"Adam, {_counted(settings.epochs, 'epoch')} of {len(train)} batches, {settings.batch_size} x "
        f"{settings.seq_len} characters each",
        "plugins": ", ".join(plugins) or "none",
        "run folder": run_dir,
    }.items():
        click.echo(f"{name:<11} {value}")
    click.echo()

    trainer = Trainer(model, Adam(), plugins=plugins, learning_rate=settings.learning_rate)
    interrupted = False
    try:
        trainer.fit(train, held_out, max_epochs=settings.epochs)
    except KeyboardInterrupt:
        interrupted = True
    except Exception:
        click.echo(f"the run failed; history and model as they stand are in {run_dir}")
        raise
    finally:
        model.save(run_dir / "model.safetensors")
    if interrupted:
        epochs = len(trainer.run.history) if trainer.run is not None else 0
        click.echo(
            f"interrupted after {_counted(epochs, 'whole epoch')}; history and model as they stand are in {run_dir}"
        )
        return INTERRUPTED
    loss = _evaluate(model, held_out)
    click.echo("\n" + _comparison(loss, baselines, trainer.run.stop_reason if trainer.run is not None else None))
    if not math.isfinite(loss):
        return 1
    _print_sample(model, corpus, settings, run_dir)
    return 0


def _configure(
    told: Mapping[str, Any], run_dir: Path, config: Path | None, enable: list[str], disable: list[str]
) -> tuple[Configuration, Settings]:
    """The plugins, not made yet, and the settings. Without a configuration, the plugins that suit this job."""
    suited: dict[str, dict[str, Any]] = {name: {} for name in RECOMMENDED}
    suited["gradient_clipping"]["max_norm"] = 1.0
    suited["loss_averaging"]["weight"] = "token"  # as the n-gram models are scored
    suited["one_cycle"] = {}
    configuration = read_configuration(
        config,
        enable=enable,
        disable=disable,
        otherwise={"plugins": suited},
        behind={"progress": {}, "history_log": {}},
    )
    return configuration, settle(told, configuration.settings, configuration.where)


def _complete(configuration: Configuration, steps: int, run_dir: Path) -> None:
    """Tell plugins what depends on this run, where the configuration does not: its folder and its number of batches."""
    for table in configuration.enabled():
        if table.plugin == "history_log":
            table.options.setdefault("directory", str(run_dir))
        elif table.plugin == "checkpoint":
            table.options.setdefault("path", str(run_dir / "checkpoint.safetensors"))
        elif table.plugin in ("one_cycle", "cosine_decay") and table.options.get("interval", "batch") == "batch":
            table.options.setdefault("steps", steps)


def _loaders(corpus: Corpus, settings: Settings) -> tuple[StreamLoader, StreamLoader]:
    train = StreamLoader(corpus.train, settings.batch_size, settings.seq_len)
    # Fewer rows where the held-out text is short: a row should be at least one chunk long.
    rows = min(settings.batch_size, max(1, (len(corpus.held_out) - 1) // settings.seq_len))
    return train, StreamLoader(corpus.held_out, rows, settings.seq_len)


def _evaluate(model: RecurrentModel, loader: StreamLoader) -> float:
    """Mean loss of each character, whatever plugins average."""
    total, tokens, state = 0.0, 0, None
    for batch in loader:
        loss, state = model.evaluate(batch, model.zero_state(batch.size) if state is None else state)
        total += loss * batch.tokens
        tokens += batch.tokens
    return total / tokens


def _architecture(settings: Settings) -> str:
    units = f"{settings.hidden_size} {'tanh' if settings.cell == 'vanilla' else settings.cell.upper()} units"
    return units if settings.num_layers == 1 else f"{settings.num_layers} layers of {units}"


def _comparison(loss: float, baselines: Mapping[str, float], stop_reason: str | None) -> str:
    lines = ["held-out loss, nats per character"]
    lines += [f"  {name:<14} {value:.4f}" for name, value in {**baselines, "this network": loss}.items()]
    best = min(baselines, key=lambda name: baselines[name])
    margin = baselines[best] - loss
    if not math.isfinite(loss):
        lines.append("The network has diverged: lower --learning-rate.")
    elif margin > 0:
        lines.append(f"The network learned: it beats the {best} by {margin:.4f} nats per character.")
    else:
        advice = "Give it more --epochs, or more text." if stop_reason is None else f"It was stopped: {stop_reason}."
        lines.append(f"The network does not beat the {best}: {-margin:.4f} nats per character are missing. {advice}")
    return "\n".join(lines)


def _print_sample(model: RecurrentModel, corpus: Corpus, settings: Settings, run_dir: Path) -> None:
    prompt = corpus.held_out[:PROMPT]
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
    _write(run_dir, "sample.txt", text)
    if settings.sample:
        click.echo(f"\nsample, the first {len(prompt)} characters given:\n")
        # A text may hold control characters, and a terminal would obey them.
        click.echo("".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text))


def _repeatable(configuration: Configuration, settings: Settings, corpus: Corpus, run_dir: Path) -> str:
    """A configuration that repeats the run: every setting, and every plugin with every option."""
    table = attrs.asdict(settings)
    if settings.text is not None:
        table["text"] = settings.text.resolve()
    parts = [
        f"# Repeats this run: rnncallbacks train --config {run_dir / 'config.toml'}",
        f"# rnncallbacks {version('rnncallbacks')}, Python {platform.python_version()}, NumPy {np.__version__}",
        f"# Text: {corpus} (SHA-256 {corpus.digest})",
        "",
        toml_table("train", table),
    ]
    for one in configuration.tables.values():
        key = f"plugins.{toml_key(one.name)}"
        named = {} if one.plugin == one.name else {"plugin": one.plugin}
        if not one.enabled:
            parts += ["", toml_table(key, {"enabled": False, **named})]
            continue
        options = options_of(configuration.installed[one.plugin].load())
        values = {option.name: option.default for option in options.values()} | one.options
        if values.get("directory") == str(run_dir):
            del values["directory"]  # the repeated run has a folder of its own
        parts += ["", toml_table(key, {**named, **values})]
    return "\n".join(parts) + "\n"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _too_short(title: str, error: DataError) -> DataError:
    return DataError(f"{title}: too short: {error.message}", hint=error.hint)


def _new_run_dir(given: Path | None) -> Path:
    if given is None:
        return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    if given.exists() and not given.is_dir():
        raise OptionError(f"--run-dir: expected a directory, got the file {given}")
    if (given / "config.toml").exists():
        raise OptionError(f"--run-dir: {given} holds a run already", hint="name another, or remove it")
    return given


def _write(run_dir: Path, name: str, content: str | bytes) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(run_dir / name, content)
    except OSError as error:
        raise DataError(f"{run_dir / name}: cannot be written: {error.strerror}") from None
