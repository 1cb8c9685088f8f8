"""An alarm if the loss does not change: a plugin for rnncallbacks."""

from rnncallbacks_acme.acme import Acme

__all__ = ["Acme"]
