"""Plugins that name the cause of a sick run."""
