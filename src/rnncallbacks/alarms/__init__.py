"""Alarms: one finding, the catalogue of codes, and the diagnosis of a run."""
