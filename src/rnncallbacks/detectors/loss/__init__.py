"""Detectors that look at losses."""
