"""A run, sent to an HTTP server while it trains: a plugin for rnncallbacks."""

from rnncallbacks_wandb_like.wandb_like import WandbLike

__all__ = ["WandbLike"]
