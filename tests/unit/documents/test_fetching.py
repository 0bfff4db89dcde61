"""Objects fetched from a scripted S3: whole, in the version that was asked for, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.config import Config

from runtime.worker.aws import Aws, AwsFailure
from runtime.worker.documents import Documents
from runtime.worker.failures import DocumentFailure
from runtime.worker.messages import Job
from tests.unit.tasks import task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ_SECONDS = 3
ETAG = {"ETag": '"e1"'}


@dataclass
class Script:
    """What S3 answers to the next request, and which it got.

    Attributes:
        status: of HTTP.
        headers: of the answer, beside its length.
        body: sent before the connection is closed.
        length: declared; that of the body where it is None.
        stall: when set, the connection stays open after the body until `resume` is set.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(ETAG))
    body: bytes = b"content"
    length: int | None = None
    stall: bool = False
    sent: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)
    paths: list[str] = field(default_factory=list[str])


class _S3(ThreadingHTTPServer):
    script: Script


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        script = cast("_S3", self.server).script
        script.paths.append(self.path)
        self.send_response(script.status)
        length = len(script.body) if script.length is None else script.length
        for name, value in {**script.headers, "Content-Length": str(length), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(script.body)
        script.sent.set()
        if script.stall:
            script.resume.wait(30)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
        """Says nothing."""


@pytest.fixture
def script() -> Script:
    """What S3 answers; change it at will."""
    return Script()


@pytest.fixture
def documents(script: Script, temporary: Path) -> Iterator[Documents]:
    """The documents of a scripted S3, with limits of 10 and 20 bytes."""
    server = _S3(("127.0.0.1", 0), _Answers)
    server.script = script
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    make: Any = cast("Any", boto3).client
    client = make(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106  no secret
        config=Config(
            retries={"total_max_attempts": 1},
            read_timeout=READ_SECONDS,
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
    nothing: Any = None
    yield Documents(
        Aws(s3=client, sqs=nothing, events=nothing),
        task(max_text_bytes=10, max_file_bytes=20),
    )
    script.resume.set()
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert list(temporary.iterdir()) == []


def _job(version: str | None = None) -> Job:
    return Job("documents", "reader/a b.txt", version, "e0")


@pytest.mark.parametrize(
    ("asked", "headers", "version"),
    [
        ("v7", {"x-amz-version-id": "v7"}, "v7"),
        (None, {"x-amz-version-id": "v8"}, "v8"),
        (None, {"x-amz-version-id": "null"}, "e1"),
        (None, {}, "e1"),
    ],
)
async def test_exactly_the_named_version_is_read(
    documents: Documents, script: Script, asked: str | None, headers: dict[str, str], version: str
) -> None:
    """The request names a version where the message does; what tells versions apart is S3's answer."""
    script.headers |= {"Content-Type": "Text/CSV; charset=x", **headers}
    with contextlib.closing(await documents.fetch(_job(asked))) as found:
        assert (found.file.read(), found.size, found.declared) == (b"content", 7, "Text/CSV; charset=x")
        assert found.version == version
    query = "" if asked is None else f"?versionId={asked}"
    assert script.paths == [f"/documents/reader/a%20b.txt{query}"]


@pytest.mark.parametrize(
    ("status", "code"), [(404, "NoSuchKey"), (404, "NoSuchVersion"), (405, "MethodNotAllowed")]
)
async def test_a_version_that_is_not_there_is_gone(
    documents: Documents, script: Script, status: int, code: str
) -> None:
    """A key or version that was deleted is the document's failure, for good."""
    script.status, script.body = status, f"<Error><Code>{code}</Code></Error>".encode()
    with pytest.raises(DocumentFailure) as caught:
        await documents.fetch(_job("v1"))
    assert caught.value.reason == "gone"


async def test_what_else_s3_answers_is_not_the_documents_fault(documents: Documents, script: Script) -> None:
    """Refused access may be granted, a slow-down ends."""
    script.status, script.body = 403, b"<Error><Code>AccessDenied</Code></Error>"
    with pytest.raises(AwsFailure) as caught:
        await documents.fetch(_job())
    assert caught.value.code == "AccessDenied"


async def test_a_document_over_every_limit_is_not_read(documents: Documents, script: Script) -> None:
    """Its declared length is enough: a terabyte that never comes is refused at once."""
    script.length, script.stall = 10**12, True
    with pytest.raises(DocumentFailure) as caught:
        await documents.fetch(_job())
    assert (caught.value.reason, caught.value.detail) == (
        "too_large",
        "the document has 1000000000000 bytes; 20 are the most of any type",
    )


async def test_a_document_at_the_limit_is_read(documents: Documents, script: Script) -> None:
    """The larger of the limits holds until the type is known."""
    script.body = b"x" * 20
    with contextlib.closing(await documents.fetch(_job())) as found:
        assert (found.size, found.file.read()) == (20, b"x" * 20)


@pytest.mark.parametrize("stall", [False, True], ids=["closed", "silent"])
async def test_a_body_that_breaks_off_is_no_document(
    documents: Documents, script: Script, stall: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """A connection that closes or falls silent in the middle is tried again, never answered."""
    script.length, script.stall = 12, stall
    with pytest.raises(AwsFailure) as caught:
        await documents.fetch(_job())
    assert (caught.value.kind, caught.value.reason) == ("transient", "aws_error")


async def test_a_fetch_can_be_cancelled(
    documents: Documents, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits goes on at once, long before a silent connection is given up."""
    copying, make = threading.Event(), tempfile.TemporaryFile

    def begin(*, buffering: int) -> object:
        copying.set()
        return make(buffering=buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", begin)
    script.length, script.stall = 12, True
    task = asyncio.create_task(documents.fetch(_job()))
    await asyncio.to_thread(copying.wait)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < READ_SECONDS / 2
    script.resume.set()
