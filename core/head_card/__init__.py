"""Everything about one head."""
