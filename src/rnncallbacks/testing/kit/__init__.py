"""The kit for authors of plugins: runs of given losses, a recorder of hooks, and one call that tries a plugin."""
