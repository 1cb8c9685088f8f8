"""The alarm codes of this package; the page of each is in the folder pages."""

from rnncallbacks.bases import Entry

TOPK001 = Entry(
    cause="a few entries carry the gradient",
    severity="warning",
    remedy="scale the inputs and targets to similar sizes, and look for a rare input of large value",
)
