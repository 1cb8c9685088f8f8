"""Detectors of faults in hidden states and in the order of batches."""
