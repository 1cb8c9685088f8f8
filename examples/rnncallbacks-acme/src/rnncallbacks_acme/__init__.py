"""Callbacks by Acme for rnncallbacks."""

from rnncallbacks_acme.acme_update_ratio import AcmeUpdateRatio

__all__ = ["AcmeUpdateRatio"]
