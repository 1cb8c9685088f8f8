"""The layers of a network around its cells: inputs, stacks of recurrent layers, and losses."""
