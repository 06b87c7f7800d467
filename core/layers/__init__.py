"""Layers that several methods share: networks with weights, unlike the pure functions of `core.ops`."""
