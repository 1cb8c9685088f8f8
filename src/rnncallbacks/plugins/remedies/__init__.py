"""Plugins that change a run: state reset, clipping, averaging, repair."""
