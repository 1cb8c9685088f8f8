"""A forward and backward pass of the script's own network, where its arrays, its data and its loss determine it."""
