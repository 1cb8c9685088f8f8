"""``rnncallbacks sample``: text from the network of a run of ``train``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.cli.training_folder import MODEL, VOCABULARY
from rnncallbacks.config.plugin_options import make_plugin
from rnncallbacks.errors import ConfigurationError, DataError, OptionError
from rnncallbacks.files import text_of_file
from rnncallbacks.rnn.data.text import Vocabulary
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.sampling import sample

DEFAULTS = Settings()


@click.command("sample", short_help="Print text from a trained network.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--prompt", help="The text to continue. [default: the most frequent character]")
@click.option("--length", type=int, default=DEFAULTS.sample, show_default=True, help="Characters to generate.")
@click.option(
    "--temperature",
    type=float,
    default=DEFAULTS.temperature,
    show_default=True,
    help="Lower values prefer likely characters.",
)
@click.option("--top-k", type=int, help="Sample from this many of the most likely characters. [default: from all]")
@click.option(
    "--top-p",
    type=float,
    default=DEFAULTS.top_p,
    show_default=True,
    help="Sample from the fewest characters whose probabilities add up to this value.",
)
@click.option("--seed", type=int, default=DEFAULTS.seed, show_default=True, help="Another seed gives another text.")
def print_sample(
    run_dir: Path,
    prompt: str | None,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
) -> None:
    """Print text that the network of a run generates after a prompt.

    RUN_DIR is the run folder of train. The network is that at the end of the run, also of one that was interrupted.
    """
    chosen = {"sample": length, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    settings, problems = make_plugin(Settings, {name: value for name, value in chosen.items() if value is not None})
    if not isinstance(settings, Settings):
        names = {"sample": "length"}
        raise ConfigurationError([f"--{names.get(name, name.replace('_', '-'))}: {text}" for name, text in problems])
    vocabulary, model = _trained(run_dir)
    prompt = vocabulary.tokens[0] if prompt is None else prompt
    if not prompt:
        raise OptionError("--prompt: expected at least one character, got none")
    drawn = sample(
        model,
        vocabulary.encode(prompt),
        length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    write_text(prompt)
    for number in drawn:
        write_text(vocabulary.tokens[number])
    click.echo()


def _trained(run_dir: Path) -> tuple[Vocabulary, RecurrentModel]:
    """The vocabulary and the network in the run folder.

    Raises
    ------
    OptionError
        The folder has none.
    DataError
        The vocabulary cannot be read.
    """
    for name in (VOCABULARY, MODEL):
        if not (run_dir / name).is_file():
            raise OptionError(
                f"{run_dir}: not the run folder of a network that was trained: it has no {name}",
                hint="rnncallbacks train --run-dir FOLDER makes one",
            )
    try:
        vocabulary = Vocabulary(**json.loads(text_of_file(run_dir / VOCABULARY)))
    except (TypeError, ValueError) as error:
        raise DataError(f"{run_dir / VOCABULARY}: not the vocabulary of a run: {error}") from error
    return vocabulary, RecurrentModel.load(run_dir / MODEL)


def write_text(text: str) -> None:
    """Print a generated text, with a sign in place of each control character, which a terminal would obey."""
    click.echo("".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text), nl=False)
