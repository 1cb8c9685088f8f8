"""Detectors that look at hidden states and at the order of batches."""
