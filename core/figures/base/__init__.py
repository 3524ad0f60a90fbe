"""What figures share: looks, marks that move over a figure, labels, small tables."""
