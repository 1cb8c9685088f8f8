"""Plugins that scale the learning rate."""
