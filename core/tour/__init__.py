"""The tour: seven tasks through the pages, each with an answer that is checked against the measured numbers."""
