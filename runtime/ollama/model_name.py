"""Names of models as Ollama reads them, and where its store keeps their manifests."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

# `types/model/name.go` of the pinned server: the lengths and characters of each part, and the defaults below.
_NAME = re.compile(
    r"(?:https?://)?"
    r"(?:(?:(?P<host>\w[\w.:-]{0,349})/)?(?P<namespace>\w[\w-]{0,79})/)?"
    r"(?P<model>\w[\w.-]{0,79})"
    r"(?::(?P<tag>\w[\w.-]{0,79}))?",
    re.ASCII,
)

MAX_PORT = 65_535


class ModelName(NamedTuple):
    """A model's full name: `host/namespace/model:tag`."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that `[http[s]://][host[:port]/][namespace/]model[:tag]` stands for.

        Raises:
            ValueError: the text is no such name, or its tag is one that Ollama does not take as a tag.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            msg = f"{text!r} is no model name: write [host[:port]/][namespace/]model[:tag]"
            raise ValueError(msg)
        port = (match["host"] or "").partition(":")[2]
        if port and not (port.isdecimal() and 0 < int(port) <= MAX_PORT):
            msg = f"{text!r} has {port!r} for a port: write [host[:port]/][namespace/]model[:tag]"
            raise ValueError(msg)
        tag = match["tag"] or "latest"
        if tag.lower() in {"cloud", "local"} or tag.lower().endswith("-cloud"):
            msg = f"{text!r} asks for a hosted model by its tag: name one that can be downloaded"
            raise ValueError(msg)
        return cls(
            match["host"] or "registry.ollama.ai",
            match["namespace"] or "library",
            match["model"],
            tag,
        )

    @property
    def manifest(self) -> str:
        """The path of its manifest, relative to a model directory."""
        return "/".join(("manifests", *self))
