"""From a person's own photographs to answers."""
