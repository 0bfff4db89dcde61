"""What a registry has under a tag now, asked as Ollama asks it."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError

from runtime.ollama.manifests import MAX_BYTES, MEDIA_TYPE, Manifest, digest_of
from runtime.version import OLLAMA_VERSION

if TYPE_CHECKING:
    from runtime.ollama.model_name import ModelName

STEP_SECONDS = 10
"""For a connection, and for every piece of an answer."""

ANSWER_SECONDS = 30
"""For a whole answer, however steadily it drips."""


class RegistryError(Exception):
    """A tag has no digest to be had; the message names registry and model in one sentence."""


def client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client that asks as `server/images.go` of the pinned Ollama does, so that both get the same bytes.

    Args:
        transport: what answers instead of the network.
    """
    return httpx.Client(
        transport=transport,
        headers={
            "Accept": MEDIA_TYPE,
            "Accept-Encoding": "gzip",
            "User-Agent": f"ollama/{OLLAMA_VERSION} (ollama-eks pin)",
        },
        follow_redirects=True,
        max_redirects=10,
        timeout=STEP_SECONDS,
        # The system's certificates, as Ollama takes them; httpx would bring certificates of its own.
        verify=ssl.create_default_context(),
        # Like Ollama's: a proxy leads out of this machine, never to it.
        mounts={"all://localhost": None, "all://127.0.0.1": None},
    )


def present_digest(http: httpx.Client, name: ModelName, *, plain_http: bool) -> str:
    """The digest that the tag has now, `sha256:<64 hex digits>`.

    It is that of the manifest's bytes as they are served, which are what Ollama writes to its store. Its
    `/api/tags` shows the same, unless a line end follows the manifest to which its JSON reader happens not
    to come (seen where that is byte 1537).

    Args:
        http: as `client` makes it.
        name: the model.
        plain_http: whether the registry is asked without TLS.

    Raises:
        RegistryError: the registry cannot be reached, refuses, or has no such model.
    """
    what = f"{name.namespace}/{name.model}:{name.tag}"
    scheme = "http" if plain_http else "https"
    url = f"{scheme}://{name.host}/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
    try:
        with http.stream("GET", url) as answer:
            if answer.url.scheme == "http" and not plain_http:
                raise RegistryError(f"{name.host} leads from https to {answer.url} for {what}: not followed")
            if not answer.is_success:
                raise RegistryError(_refusal(answer, name.host, what))
            content = _whole(answer)
    except (httpx.TimeoutException, TimeoutError):
        raise RegistryError(f"{name.host} did not answer in time when asked for {what}: try again") from None
    # The last two: a host that is a name of Ollama's, and none of DNS.
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise RegistryError(f"{name.host} cannot be asked for {what}: {_line(error)}") from None
    # A sign-in page, say, is text that has a digest too.
    try:
        Manifest.model_validate_json(content if len(content) <= MAX_BYTES else b"")
    except ValidationError:
        raise RegistryError(
            f"{name.host} answered something else than a manifest when asked for {what}"
        ) from None
    return digest_of(content)


def _refusal(answer: httpx.Response, host: str, what: str) -> str:
    match answer.status_code:
        case httpx.codes.NOT_FOUND:
            return f"{host} has no {what}: look for a slip in name or tag"
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            return f"{host} wants a login for {what}: only what anybody may pull can be pinned"
        case httpx.codes.TOO_MANY_REQUESTS:
            after = answer.headers.get("Retry-After", "")
            again = f"in {after} seconds" if after.isdigit() else "later"
            return f"{host} has had too many requests and refuses {what}: try again {again}"
        case _:
            return (
                f"{host} answered {answer.status_code} {answer.reason_phrase} when asked for {what}".rstrip()
            )


def _whole(answer: httpx.Response) -> bytes:
    """The body, freed of its compression; cut off where it is longer than any manifest."""
    until = time.monotonic() + ANSWER_SECONDS
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if time.monotonic() > until:
            raise TimeoutError
        if len(content) > MAX_BYTES:
            break
    return bytes(content)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
