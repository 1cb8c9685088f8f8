"""Detectors of faults in gradients."""
