"""Text, tokens, and the loaders that make batches of them."""
