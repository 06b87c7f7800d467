"""Training and evaluation; nothing here knows which method it runs."""
