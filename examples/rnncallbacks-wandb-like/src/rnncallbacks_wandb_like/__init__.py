"""The history of a run, sent to an HTTP server: a plugin for rnncallbacks."""

from rnncallbacks_wandb_like.wandb_like import WandbLike

__all__ = ["WandbLike"]
