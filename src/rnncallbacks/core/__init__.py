"""The run and its parts: hooks, plugins, batches, state, learning rate, history, checkpoints."""
