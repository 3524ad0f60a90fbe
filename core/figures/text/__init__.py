"""Pictures of heads on real text."""
