"""Ways of asking what a network is worth: one file a protocol."""
