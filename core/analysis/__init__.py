"""Studies of one or several trained networks: each gives a table and a figure, or pictures."""
