"""Networks: images [n, 3, H, W] (or stored features) to {map, vector}."""
