"""Stochastic weight averaging: a plugin for rnncallbacks."""

from rnncallbacks_swa.swa import Swa

__all__ = ["Swa"]
