"""Plugins that watch a metric or the loss and raise alarms."""
