"""Training on several processes: the ranks, what they exchange, and how they end, for the plugin ``data_parallel``."""
