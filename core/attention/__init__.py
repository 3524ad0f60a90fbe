"""Where heads look: the table of scores, the pass that measures them, patterns, and how far a score moves."""
