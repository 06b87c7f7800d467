"""Backbones: networks from images [n, 3, H, W], or stored features [n, D], to {map, vector}."""
