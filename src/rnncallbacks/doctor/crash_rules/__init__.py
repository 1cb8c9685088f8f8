"""Why scripts fail before they train, and what mends them: one rule for each kind of error."""
