"""One file a paper, or a tight family of papers."""
