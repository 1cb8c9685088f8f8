"""Output of a run: progress and diagnosis in the terminal, and a report as an HTML page."""
