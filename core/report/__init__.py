"""Run folders, statistics and tables; reads files, never tensors."""
