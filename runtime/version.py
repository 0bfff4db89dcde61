"""The server version."""

OLLAMA_VERSION = "0.24.0"
"""The one server version that the image holds, the tests run and a model's hash names."""
