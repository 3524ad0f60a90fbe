"""Real text, for what random tokens cannot tell: corpora, windows, natural scores, contexts; and one ordinary paragraph."""
