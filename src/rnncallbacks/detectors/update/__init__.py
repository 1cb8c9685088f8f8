"""Detectors that look at parameter updates."""
