"""Diagnosis of training scripts without a ``Run``."""
