"""Studies that train or take several networks and put what was found into one table and one figure."""
