"""Trains a setup in its loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from rnncallbacks.core.run import Run
from rnncallbacks.testing.custom_loop import CustomLoop
from rnncallbacks.testing.setups import Setup, TrainedNetwork
from rnncallbacks.testing.trainer_loop import train_with_trainer


def run_setup(setup: Setup, plugins: Mapping[str, object]) -> tuple[Run, TrainedNetwork]:
    """Trains a setup under plugins, and returns the run and the trained network.

    Alarms are not logged, because faulty runs raise them on purpose.
    """
    logger = logging.getLogger("rnncallbacks")
    disabled, logger.disabled = logger.disabled, True
    try:
        with np.errstate(all="ignore"):
            if setup.loop == "trainer":
                return train_with_trainer(setup, plugins)
            script = (setup.custom_loop or CustomLoop)(setup)
            return script.train(plugins), script
    finally:
        logger.disabled = disabled
