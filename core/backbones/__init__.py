"""Networks: images [n, 3, H, W] to {map, vector}."""
