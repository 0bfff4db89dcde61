"""The local run: the program's own graph, executed on this machine with an emulator for AWS."""
