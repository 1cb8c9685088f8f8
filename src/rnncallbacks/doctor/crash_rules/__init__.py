"""Rules that explain errors before training, with a fix: one for each kind of error."""
