"""Recurrent networks in NumPy: cells, model, losses, optimizers, and the data that they are trained on."""
