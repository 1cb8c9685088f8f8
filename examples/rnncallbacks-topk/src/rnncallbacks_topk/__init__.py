"""An alarm if a few entries carry the gradient: a plugin for rnncallbacks."""

from rnncallbacks_topk.topk import Topk

__all__ = ["Topk"]
