"""Detectors of faults in parameter updates."""
