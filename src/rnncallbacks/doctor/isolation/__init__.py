"""Replacements of the file system, the network, other processes and the screen for a script."""
