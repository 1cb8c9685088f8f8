"""Recurrent cells: the step from one state to the next, and its gradients."""
