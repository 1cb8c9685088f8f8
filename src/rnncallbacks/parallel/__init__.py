"""Training on several processes: the ranks, what they exchange, and how they end. The plugin is ``data_parallel``."""
