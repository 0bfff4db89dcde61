"""Manifests: what a model consists of, from a registry or from a model directory."""

from __future__ import annotations

import hashlib
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, NamedTuple

import httpx
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from runtime.ollama.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MAX_BYTES = 64 * 1024 * 1024
"""Of models that are cut into tensors, a manifest names thousands; this is a hundred times more."""


class Layer(BaseModel):
    """One blob that a manifest names."""

    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: int = Field(default=0, ge=0)


class Manifest(BaseModel):
    """What a model consists of."""

    config: Layer
    layers: list[Layer]

    @property
    def sizes(self) -> Mapping[str, int]:
        """The length in bytes of every blob, by digest."""
        return {layer.digest: layer.size for layer in (self.config, *self.layers)}


class Offer(NamedTuple):
    """What a registry has under a name now: the digest of the manifest's bytes, and the manifest."""

    digest: str
    manifest: Manifest


def digest_of(content: bytes) -> str:
    """`sha256:<64 hex digits>`: the model's digest, if these are the bytes of its manifest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def offered(name: str, *, plain_http: bool) -> Offer | None:
    """Asks the registry as the server will; None where it does not answer with a manifest.

    Then the server has to ask: it holds a key for registries that want one, and words for those that refuse.
    Takes as long as the registry lets it: the caller sets the limit.
    """
    host, namespace, model, tag = ModelName.parse(name)
    url = f"{'http' if plain_http else 'https'}://{host}/v2/{namespace}/{model}/manifests/{tag}"
    # The system's certificates and proxies, as the server takes them; httpx would bring its own.
    trust = ssl.create_default_context()
    async with httpx.AsyncClient(verify=trust, timeout=None, follow_redirects=True) as http:  # noqa: S113  see above
        try:
            async with http.stream("GET", url, headers={"Accept": MEDIA_TYPE}) as answer:
                content = b""
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > MAX_BYTES:
                        return None
                if answer.status_code != HTTPStatus.OK:
                    return None
        except (httpx.TransportError, httpx.InvalidURL, httpx.TooManyRedirects):
            return None
    try:
        return Offer(digest_of(content), Manifest.model_validate_json(content))
    except ValidationError:
        return None
