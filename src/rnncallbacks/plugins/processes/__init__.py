"""Plugins for runs of several processes."""
