"""Containers of arrays, gradients, and the arrays of other libraries."""
