"""Losses with their own parameters, handed to any method."""
