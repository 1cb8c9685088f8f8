"""What is shown of a run when it is over: in the terminal, and as a page."""
