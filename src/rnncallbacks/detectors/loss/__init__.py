"""Detectors of faults in losses."""
