"""What every page has: the sidebar, the address, waiting, errors as sentences."""
