"""Writes a script with ``Run`` around the training loop that the doctor found in it."""
