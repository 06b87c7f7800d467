"""Configuration: defaults, loading, cross-field rules."""
