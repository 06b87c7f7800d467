"""Pure functions on tensors, for any leading axes; what has weights stands in `core.layers`."""
