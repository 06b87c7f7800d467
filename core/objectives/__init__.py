"""Losses that any method can be trained with; they may have parameters."""
