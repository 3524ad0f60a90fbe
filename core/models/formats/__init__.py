"""What is in a model folder, read without running any of it."""
