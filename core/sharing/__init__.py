"""What leaves a page: its address, the command that prints the same, its numbers as JSON and CSV."""
