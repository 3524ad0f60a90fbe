"""Pages that stand alone in one file."""
