"""The small figures of a head card."""
