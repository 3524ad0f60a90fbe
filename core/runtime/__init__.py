"""What holds results and does work: the store, the cache in front of it, and jobs. Knows nothing of models."""
