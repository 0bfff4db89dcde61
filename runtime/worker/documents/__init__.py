"""Documents: fetched from S3, decided upon and read as what a model can take."""

from runtime.worker.documents.fetching import Documents, Fetched
from runtime.worker.documents.reading import Content, Image, read

__all__ = ["Content", "Documents", "Fetched", "Image", "read"]
