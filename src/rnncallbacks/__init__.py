"""Remedies, alarms and a NumPy trainer for recurrent networks whose loss will not go down."""
