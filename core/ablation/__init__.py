"""What the loss becomes without some heads, and what it becomes without random ones."""
