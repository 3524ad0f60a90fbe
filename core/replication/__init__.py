"""The report that started this project: its published numbers, and its recipe on any model."""
