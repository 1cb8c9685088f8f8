"""Detectors that look at gradients."""
