"""The alarm codes of this package; the page of each is in the folder pages."""

from rnncallbacks.bases import Entry

ACME001 = Entry(
    cause="the loss does not change",
    severity="warning",
    remedy="compute the loss of each batch from its own outputs and targets",
)
