"""What a registry is asked of a model, and what its answers mean."""

from __future__ import annotations

import gzip
import itertools
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from cli import registry
from runtime.ollama.model_name import ModelName
from tests.unit.manifest import DIGEST, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = ModelName.parse("models.example:5000/team/tiny:1b")


def _asked(answer: Callable[[httpx.Request], httpx.Response], *, plain_http: bool = False) -> str:
    with registry.client(httpx.MockTransport(answer)) as http:
        return registry.present_digest(http, TINY, plain_http=plain_http)


def test_the_request_is_that_of_ollama() -> None:
    """Path and headers are those of `pullModelManifest`, by TLS unless the stack says http://."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=MANIFEST)

    assert [_asked(answer), _asked(answer, plain_http=True)] == [DIGEST, DIGEST]
    path = "models.example:5000/v2/team/tiny/manifests/1b"
    assert [(request.method, str(request.url)) for request in seen] == [
        ("GET", f"https://{path}"),
        ("GET", f"http://{path}"),
    ]
    assert {name: seen[0].headers[name] for name in ("accept", "accept-encoding", "user-agent")} == {
        "accept": "application/vnd.docker.distribution.manifest.v2+json",
        "accept-encoding": "gzip",
        "user-agent": "ollama/0.24.0 (ollama-eks pin)",
    }


def test_compression_on_the_way_is_none_of_the_digest() -> None:
    """The digest is over what Ollama writes, which unpacks it too."""
    packed = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=gzip.compress(MANIFEST))
    assert _asked(lambda _request: packed) == DIGEST


def test_redirects_are_followed() -> None:
    """As hf.co makes them."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == TINY.host.partition(":")[0]:
            return httpx.Response(307, headers={"Location": "https://other.example/manifest"})
        return httpx.Response(200, content=MANIFEST)

    assert _asked(answer) == DIGEST


@pytest.mark.parametrize(
    ("status", "headers", "body", "sentence"),
    [
        (404, {}, b"", "models.example:5000 has no team/tiny:1b: look for a slip in name or tag"),
        (
            401,
            {},
            b"",
            "models.example:5000 wants a login for team/tiny:1b: only what anybody may pull can be pinned",
        ),
        (
            403,
            {},
            b"",
            "models.example:5000 wants a login for team/tiny:1b: only what anybody may pull can be pinned",
        ),
        (
            429,
            {"Retry-After": "7"},
            b"",
            "models.example:5000 has had too many requests and refuses team/tiny:1b: try again in 7 seconds",
        ),
        (
            429,
            {},
            b"",
            "models.example:5000 has had too many requests and refuses team/tiny:1b: try again later",
        ),
        (
            503,
            {},
            b"",
            "models.example:5000 answered 503 Service Unavailable when asked for team/tiny:1b",
        ),
        (
            302,
            {"Location": "http://models.example/"},
            b"",
            "models.example:5000 leads from https to http://models.example/ for team/tiny:1b: not followed",
        ),
        *[
            (
                200,
                {},
                body,
                "models.example:5000 answered something else than a manifest when asked for team/tiny:1b",
            )
            for body in (
                b"<html>",
                b"[1]",
                b'{"layers": []}',
                MANIFEST[:-2],
                b"[" * 10**6,
            )
        ],
    ],
)
def test_what_is_no_manifest_is_told_in_a_sentence(
    status: int, headers: dict[str, str], body: bytes, sentence: str
) -> None:
    """Each names registry and model."""

    def answer(request: httpx.Request) -> httpx.Response:
        answered = status if request.url.scheme == "https" else 200
        return httpx.Response(answered, headers=headers, content=body or MANIFEST)

    with pytest.raises(registry.RegistryError) as caught:
        _asked(answer)
    assert str(caught.value) == sentence


def test_an_answer_without_an_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than a manifest may be is none, also where it starts like one."""
    monkeypatch.setattr(registry, "MAX_BYTES", len(MANIFEST))
    assert _asked(lambda _request: httpx.Response(200, content=MANIFEST)) == DIGEST
    endless = itertools.chain([MANIFEST], itertools.repeat(b" "))
    with pytest.raises(registry.RegistryError, match="something else than a manifest"):
        _asked(lambda _request: httpx.Response(200, content=endless))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            httpx.ReadTimeout("slow"),
            "models.example:5000 did not answer in time when asked for team/tiny:1b: try again",
        ),
        (httpx.ConnectError("refused"), "models.example:5000 cannot be asked for team/tiny:1b: refused"),
        (
            UnicodeError("label too long"),
            "models.example:5000 cannot be asked for team/tiny:1b: label too long",
        ),
    ],
)
def test_a_registry_that_is_not_reached_is_told_in_a_sentence(error: Exception, sentence: str) -> None:
    """Whatever layer the error comes from."""

    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(registry.RegistryError, match=f"^{re.escape(sentence)}$"):
        _asked(answer)


def test_an_answer_that_drips_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole answer has a limit of its own."""
    seconds = iter([0.0, 1.0, registry.ANSWER_SECONDS + 1.0])
    monkeypatch.setattr(registry.time, "monotonic", lambda: next(seconds))
    with pytest.raises(registry.RegistryError, match="did not answer in time"):
        _asked(lambda _request: httpx.Response(200, content=iter([b"{", b" ", b" "])))
