"""Plugins that name the cause of a fault in a run."""
