"""The earth mover's distance between two sets of local vectors: problems, solvers, and fine-tuned class nodes."""
