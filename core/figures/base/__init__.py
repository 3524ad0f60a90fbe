"""What figures share: looks, overlays that move over a figure, labels, small tables."""
