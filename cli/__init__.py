"""What runs on the operator's laptop: the program's graph as data, and the commands that use it."""
