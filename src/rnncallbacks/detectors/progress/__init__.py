"""Detectors that examine loss curves and data over many batches: no signal, overfitting, plateau."""
