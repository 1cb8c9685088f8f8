"""Detectors: the arithmetic behind guards. They know no plugin."""
