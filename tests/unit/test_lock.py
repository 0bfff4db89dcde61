"""`tools/lock` against scripted registries: what is asked, what is written, what is said."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from cli import lock
from components.locked import Lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TODAY = date(2026, 11, 22)
INDEX = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
IMAGE = "docker.io/ollama/ollama:0.24.0"
URL = "https://registry-1.docker.io/v2/ollama/ollama/manifests/0.24.0"
CHALLENGE = 'Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull"'
LENDER = "https://auth.test/token?service=registry.test&scope=repository%3Aa%2Fb%3Apull"
CHART = lock.Chart("https://charts.test", "keda", "2.20.2")
A = "a" * 64

Answer = httpx.Response | Exception


def _asking(*answers: Answer) -> tuple[httpx.Client, list[httpx.Request]]:
    """A client whose requests get these answers, one after the other, and those requests."""
    asked: list[httpx.Request] = []
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given

    return lock.client(httpx.MockTransport(answer)), asked


def _manifest(content: bytes = INDEX, digest: str | None = None) -> httpx.Response:
    told = {"Docker-Content-Digest": digest} if digest else {}
    return httpx.Response(200, headers={"Content-Type": lock.MEDIA_TYPES[0], **told}, content=content)


def _index(*versions: dict[str, str], name: str = "keda") -> httpx.Response:
    return httpx.Response(200, content=yaml.safe_dump({"entries": {name: list(versions)}}).encode())


def test_an_images_digest_is_that_of_the_bytes_that_its_tag_stands_for() -> None:
    """Asked by every name that an image's manifest or list of manifests may have."""
    http, asked = _asking(_manifest())
    assert lock.image_lock(http, IMAGE, TODAY) == Lock(digest=DIGEST, source=URL, date=TODAY)
    assert [(each.method, str(each.url), each.headers["accept"]) for each in asked] == [
        ("GET", URL, ", ".join(lock.MEDIA_TYPES))
    ]


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_registry_that_asks_for_a_token_gets_the_one_that_anybody_gets(name: str) -> None:
    """Where its challenge says, and with all that the challenge names."""
    refusal = httpx.Response(401, headers={"WWW-Authenticate": CHALLENGE})
    http, asked = _asking(refusal, httpx.Response(200, json={name: "lent"}), _manifest())
    assert lock.image_lock(http, IMAGE, TODAY).digest == DIGEST
    assert str(asked[1].url) == LENDER
    assert [each.headers.get("authorization") for each in asked] == [None, None, "Bearer lent"]


def test_a_charts_digest_is_that_of_its_repositorys_index() -> None:
    """Of the version that is asked for, and of no other."""
    http, asked = _asking(
        _index({"version": "2.20.1", "digest": "b" * 64}, {"version": "2.20.2", "digest": A})
    )
    source = "https://charts.test/index.yaml"
    assert lock.chart_lock(http, CHART, TODAY) == Lock(digest=f"sha256:{A}", source=source, date=TODAY)
    assert [str(each.url) for each in asked] == [source]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([httpx.Response(404)], f"{URL} answered 404 Not Found"),
        ([httpx.Response(429)], f"{URL} answered 429 Too Many Requests"),
        ([httpx.ConnectError("refused")], f"{URL} cannot be asked: refused"),
        ([httpx.ReadTimeout("")], f"{URL} cannot be asked: ReadTimeout"),
        ([httpx.Response(200, html="<p>Sign in")], f"{URL} answered something else than a manifest"),
        (
            [_manifest(digest="sha256:other")],
            f"{URL} says sha256:other, and its answer has {DIGEST}",
        ),
        (
            [httpx.Response(401, headers={"WWW-Authenticate": "Basic realm=x"})],
            "its registry wants a login in a way that is not known here: 'Basic realm=x'",
        ),
        (
            [httpx.Response(401, headers={"WWW-Authenticate": CHALLENGE}), httpx.Response(503)],
            f"{LENDER} answered 503 Service Unavailable",
        ),
        (
            [httpx.Response(401, headers={"WWW-Authenticate": CHALLENGE}), httpx.Response(200, text="no")],
            "https://auth.test/token answered something else than a token",
        ),
    ],
)
def test_an_image_without_a_digest_is_told_in_a_sentence(answers: list[Answer], sentence: str) -> None:
    """It names the image, the address and what came of it."""
    http, _ = _asking(*answers)
    with pytest.raises(lock.LockError) as caught:
        lock.image_lock(http, IMAGE, TODAY)
    assert str(caught.value) == f"{IMAGE}: {sentence}"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx.Response(404), "answered 404 Not Found"),
        (httpx.Response(200, text="<html>"), "answered something else than an index"),
        (httpx.Response(200, text="{"), "answered something else than an index"),
        (_index(name="other"), "has 0 charts of that name and version, not one"),
        (
            _index({"version": "2.20.2", "digest": A}, {"version": "2.20.2", "digest": A}),
            "has 2 charts of that name and version, not one",
        ),
        (_index({"version": "2.20.2"}), "gives the digest '', which is no sha256"),
        (
            _index({"version": "2.20.2", "digest": "md5"}),
            "gives the digest 'md5', which is no sha256",
        ),
    ],
)
def test_a_chart_without_a_digest_is_told_in_a_sentence(answer: Answer, sentence: str) -> None:
    """Likewise."""
    http, _ = _asking(answer)
    with pytest.raises(lock.LockError) as caught:
        lock.chart_lock(http, CHART, TODAY)
    assert str(caught.value) == f"{CHART}: https://charts.test/index.yaml {sentence}"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock file for two images and a chart, of which nothing is known yet."""
    file = tmp_path / "versions.lock.json"
    file.write_text("{}\n")
    monkeypatch.setattr(lock, "WANTED", ("r.test/b:2", "r.test/a:1", CHART))
    return file


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
    """Says what the registry has under its tags; the chart is there always."""
    client = lock.client

    def start(tags: dict[str, bytes]) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.host == "charts.test":
                return _index({"version": "2.20.2", "digest": A})
            tag = request.url.path.rpartition("/")[2]
            return _manifest(tags[tag]) if tag in tags else httpx.Response(404)

        monkeypatch.setattr(lock, "client", lambda: client(httpx.MockTransport(answer)))

    return start


def _lock(image: str, content: bytes, day: str) -> dict[str, str]:
    name, _, tag = image.removeprefix("r.test/").partition(":")
    return {
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "source": f"https://r.test/v2/{name}/manifests/{tag}",
        "date": day,
    }


def test_all_is_written_in_order_and_an_unchanged_digest_keeps_its_day(
    file: Path, serve: Callable[[dict[str, bytes]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What nothing asks for any more goes, and each change is said."""
    file.write_text(
        json.dumps(
            {
                "r.test/a:1": _lock("r.test/a:1", b"one", "2026-01-01"),
                "r.test/b:2": _lock("r.test/b:2", b"old", "2026-01-01"),
                "r.test/gone:1": _lock("r.test/gone:1", b"", "2026-01-01"),
            }
        )
    )
    serve({"1": b"one", "2": b"two"})
    assert lock.run(file)
    today = datetime.now(UTC).date().isoformat()
    written = json.loads(file.read_text())
    assert written == {
        str(CHART): {
            "digest": f"sha256:{A}",
            "source": "https://charts.test/index.yaml",
            "date": today,
        },
        "r.test/a:1": _lock("r.test/a:1", b"one", "2026-01-01"),
        "r.test/b:2": _lock("r.test/b:2", b"two", today),
    }
    assert list(written) == sorted(written)
    old = _lock("r.test/b:2", b"old", "")["digest"]
    assert capsys.readouterr().out.splitlines() == [
        f"{CHART}: sha256:{A}, was not known",
        f"r.test/b:2: {written['r.test/b:2']['digest']}, was {old}",
        "r.test/gone:1: not used any more",
    ]
    assert lock.run(file, check=True)


@pytest.mark.parametrize("served", [{"1": b"one", "2": b"new"}, {"1": b"one"}])
def test_a_check_writes_nothing_and_is_not_content_with_less_than_all(
    file: Path, serve: Callable[[dict[str, bytes]], None], served: dict[str, bytes]
) -> None:
    """A tag that moved and one that is gone both end it badly."""
    serve({"1": b"one", "2": b"two"})
    assert not lock.run(file, check=True)
    assert file.read_text() == "{}\n"
    assert lock.run(file)
    before = file.read_bytes()
    serve(served)
    assert not lock.run(file, check=True)
    assert file.read_bytes() == before


def test_one_that_cannot_be_looked_up_leaves_the_file_and_all_are_told(
    file: Path, serve: Callable[[dict[str, bytes]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of which half is new would be of no day."""
    serve({})
    assert not lock.run(file)
    assert file.read_text() == "{}\n"
    assert capsys.readouterr().err.splitlines() == [
        "error: r.test/b:2: https://r.test/v2/b/manifests/2 answered 404 Not Found",
        "error: r.test/a:1: https://r.test/v2/a/manifests/1 answered 404 Not Found",
    ]
