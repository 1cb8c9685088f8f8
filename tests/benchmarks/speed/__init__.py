"""The speed benchmark in parts: contenders, what takes turns with what, and what the page says of it."""
