"""Few-shot methods: one file for each paper, or for a family of papers."""
