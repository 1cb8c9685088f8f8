"""Run a setup, through the loop that it names."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from rnncallbacks.core.run import Run
from rnncallbacks.testing.loops import Script
from rnncallbacks.testing.setups import Setup, TrainedNetwork
from rnncallbacks.testing.trained import train_with_trainer


def run_setup(setup: Setup, plugins: Mapping[str, object]) -> tuple[Run, TrainedNetwork]:
    """Train under these plugins; return the run, and what can tell its true loss and its weights by role.

    Alarms are not logged: faulty runs raise them on purpose.
    """
    logger = logging.getLogger("rnncallbacks")
    disabled, logger.disabled = logger.disabled, True
    try:
        with np.errstate(all="ignore"):
            if setup.through == "trainer":
                return train_with_trainer(setup, plugins)
            script = (setup.script or Script)(setup)
            return script.train(plugins), script
    finally:
        logger.disabled = disabled
