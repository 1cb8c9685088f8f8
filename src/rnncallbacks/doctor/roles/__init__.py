"""The roles of a script's values, inferred from the effects of perturbations of one value on the others."""
