"""Layers that methods share: modules with weights, unlike the pure functions of `core.ops`."""
