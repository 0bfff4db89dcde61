"""Ollama as this system uses it: its names and Modelfiles, its server as a child, and its store on disk."""
