"""What happens to a data set once: from its publisher's files to packed splits on disk."""
