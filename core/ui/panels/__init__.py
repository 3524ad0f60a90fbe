"""The parts of each page, one file a page."""
