"""The run and what it drives: hooks, plugins, batches, state, learning rate, history, checkpoints."""
