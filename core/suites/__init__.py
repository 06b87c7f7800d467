"""Suites: many runs of many configs, each the command lines that a user would type."""
