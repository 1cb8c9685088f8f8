"""What a run shows: progress and diagnosis in the terminal, and a report as an HTML page."""
