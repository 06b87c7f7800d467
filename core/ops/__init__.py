"""Pure functions over leading axes."""
