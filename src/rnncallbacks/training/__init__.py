"""Training of the library's networks: the trainer, its metrics, and the learning-rate range test."""
