"""Plugins that show a run or write it to files."""
