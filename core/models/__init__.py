"""Models: what can be chosen, how each is loaded, and the circuit by construction."""
