"""The settings of ``rnncallbacks train``."""

import tomllib
from pathlib import Path

import attrs
import pytest

from rnncallbacks.cli.train_settings import Settings
from rnncallbacks.cli.training_folder import as_toml
from rnncallbacks.errors import ConfigurationError


def test_the_settings_survive_a_run_folder():
    settings = Settings(text=Path('a "quoted" name.txt'), learning_rate=1e-5, epochs=3)
    table = tomllib.loads(as_toml({"train": attrs.asdict(settings)}))["train"]
    assert Settings(**{**table, "text": Path(table["text"])}) == settings


def test_settings_out_of_range_are_refused():
    with pytest.raises((ConfigurationError, ValueError), match="epochs"):
        Settings(epochs=0)
