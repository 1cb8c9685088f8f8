"""Configuration: which plugins are installed and enabled, and with which options."""
