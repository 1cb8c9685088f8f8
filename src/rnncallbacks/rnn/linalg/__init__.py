"""Matrix products, elementwise functions and memory: what all layers of a network are computed with."""
