"""The roles of a script's values, inferred from what a push of one value does to the others."""
