"""Compiled kernels, and the cells and layers that use them. Importing a module of this folder imports numba."""
