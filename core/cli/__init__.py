"""The commands: `experiments/*.py` and the console command `fiveway` call the same functions."""
