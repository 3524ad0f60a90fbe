"""Which heads work together: by their weights, and by cutting paths."""
