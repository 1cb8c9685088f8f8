"""Detectors that look at curves and data over many epochs."""
