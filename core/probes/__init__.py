"""The token sequences that everything is measured on, and where things are in them."""
