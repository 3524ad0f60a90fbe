"""What each head is called, by which test, and what it writes."""
