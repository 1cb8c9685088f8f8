"""Diagnosis of training scripts that have no ``Run`` in them."""
