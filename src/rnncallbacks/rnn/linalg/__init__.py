"""Matrix products, elementwise functions and memory: the arithmetic of all layers."""
