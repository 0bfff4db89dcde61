"""A proxy before moto that lets AWS fail on demand: a rule says what each request meets.

Workers take its endpoint for AWS's. It is stricter with receipts than moto: one that is no longer the newest
of its message, or whose visibility has ended, is refused. (AWS lets an expired one delete, while the message
is in nobody else's hand.) Batches of deletes and of changes pass unjudged.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.worker.faults import Fault, Kind, Request
from tests.worker.loopback import Handler, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping


@dataclass
class Message:
    """A message that was handed out.

    Attributes:
        queue: its queue's URL path.
        content: as it was handed out last.
        receipts: those that count, with the monotonic time when each one's visibility ends.
        newest: the last of them.
        shared: whether the next one leaves the present ones valid.
        deleted: whether it is gone.
    """

    queue: str
    content: dict[str, Any]
    receipts: dict[str, float] = field(default_factory=dict)
    newest: str = ""
    shared: bool = False
    deleted: bool = False


class Receipts:
    """Whose each message is. Receipts that it never saw are left to moto to judge."""

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}
        self._owners: dict[str, Message] = {}
        self._lock = threading.Lock()

    def hand_out(self, queue: str, content: dict[str, Any], seconds: float) -> None:
        """A message went to somebody; unless it is shared, it is nobody else's any more."""
        receipt = content["ReceiptHandle"]
        with self._lock:
            message = self._messages.setdefault(content["MessageId"], Message(queue, content))
            message.queue, message.content, message.newest = queue, content, receipt
            message.receipts = message.receipts if message.shared else {}
            message.receipts[receipt] = time.monotonic() + seconds
            message.shared = False
            self._owners[receipt] = message

    def ghost(self, message: Message) -> dict[str, Any]:
        """A copy of a message with a receipt that counts for nothing."""
        receipt = f"ghost-{secrets.token_hex(16)}"
        self._owners[receipt] = message
        return message.content | {"ReceiptHandle": receipt}

    def change(self, receipt: str, seconds: float) -> None:
        """The message stays hidden so long from now."""
        with self._lock:
            message = self._owners.get(receipt)
            if message and receipt in message.receipts:  # another may have been handed it meanwhile
                message.receipts[receipt] = time.monotonic() + seconds

    def delete(self, receipt: str) -> None:
        """The message is gone."""
        if message := self._owners.get(receipt):
            message.deleted = True

    def why_stale(self, receipt: str) -> Literal["", "superseded", "expired"]:
        """Why a receipt that is known, of a message that is still there, counts no more."""
        message = self._owners.get(receipt)
        if message is None or message.deleted:
            return ""
        until = message.receipts.get(receipt)
        if until is None:
            return "superseded"
        return "expired" if until < time.monotonic() else ""

    def in_flight(self, queue: str) -> Message | None:
        """The message of a queue that has been known longest among those that somebody holds."""
        now = time.monotonic()
        with self._lock:
            return next(
                (
                    message
                    for message in self._messages.values()
                    if message.queue == queue
                    and not message.deleted
                    and message.receipts.get(message.newest, 0.0) > now
                ),
                None,
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass
class FaultProxy:
    """What a test sees of the proxy.

    Attributes:
        upstream: `address:port` of moto.
        rule: what each request meets; it may be replaced at any time.
        stale_deletes: `refused` with ReceiptHandleIsInvalid; or `ignored`, answered as if all were well, as
            AWS documents it of standard queues. The message stays in both.
        endpoint: its URL.
        tally: how often each operation met each fault; `passed` is a request that
            moto got in the end, `stale` a refused receipt.
    """

    upstream: str
    rule: Callable[[Request], Fault | None] = lambda _: None
    stale_deletes: Literal["refused", "ignored"] = "refused"
    endpoint: str = ""
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    receipts: Receipts = field(default_factory=Receipts)
    _numbers: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, operation: str) -> int:
        """The number of this request among its operation's."""
        with self._lock:
            self._numbers[operation] += 1
            return self._numbers[operation]

    def met(self, request: Request, kind: str) -> None:
        """Adds to the tally."""
        with self._lock:
            self.tally[request.operation, kind] += 1


_OF_OBJECTS = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
_OF_BUCKETS = {"GET": "ListObjects", "PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
_BY_QUERY = {"list-type": "ListObjectsV2", "versions": "ListObjectVersions", "delete": "DeleteObjects"}


def identify(method: str, path: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """Service and operation of a request, by the header of AWS's JSON protocols or S3's paths.

    S3's other subresources have no names of AWS here: `PUT versioning`.
    """
    service, _, operation = headers.get("x-amz-target", "").partition(".")
    if operation:
        return ("sqs" if service == "AmazonSQS" else "events"), operation
    url = urlsplit(path)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    for name, value in query.items():
        if name in _BY_QUERY:
            return "s3", _BY_QUERY[name]
        if not value or name == "uploadId":
            return "s3", f"{method} {name}"
    if "x-amz-copy-source" in headers:
        return "s3", "CopyObject"
    names = _OF_OBJECTS if url.path.strip("/").count("/") else _OF_BUCKETS
    return "s3", names.get(method, method)


def refusal(request: Request, status: int, code: str) -> Answer:
    """An error as the service of a request writes it."""
    if request.service == "s3":
        content = f"<Error><Code>{code}</Code><Message>by the proxy</Message></Error>".encode()
        return Answer(
            status, {"Content-Type": "application/xml"}, b"" if request.method == "HEAD" else content
        )
    name = code.rpartition(".")[2]
    content = json.dumps({"__type": f"com.amazonaws.{request.service}#{name}", "message": "by the proxy"})
    sender = "Sender" if status < 500 else "Receiver"
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-query-error": f"{code};{sender}"}
    return Answer(status, headers, content.encode())


_CODES: Mapping[tuple[str, Kind], tuple[int, str]] = {
    ("s3", "throttle"): (503, "SlowDown"),
    ("sqs", "throttle"): (400, "RequestThrottled"),
    ("events", "throttle"): (400, "ThrottlingException"),
    ("s3", "error"): (500, "InternalError"),
    ("sqs", "error"): (500, "InternalFailure"),
    ("events", "error"): (500, "InternalFailure"),
    ("s3", "conflict"): (409, "ConditionalRequestConflict"),
    ("s3", "exists"): (412, "PreconditionFailed"),
    ("sqs", "lost"): (400, "ReceiptHandleIsInvalid"),
}
_BY_RECEIPT = {"DeleteMessage", "ChangeMessageVisibility"}
_NOT_IN_FLIGHT = "AWS.SimpleQueueService.MessageNotInflight"
_NOT_FORWARDED = {"connection", "expect", "transfer-encoding", "content-length"}
_NOT_RETURNED = {"connection", "transfer-encoding"}


@contextmanager
def running(endpoint: str, rule: Callable[[Request], Fault | None] = lambda _: None) -> Generator[FaultProxy]:
    """A proxy before an AWS endpoint, on a free port until the block ends."""
    proxy = FaultProxy(urlsplit(endpoint).netloc, rule)
    with serving(type("Exchange", (_Exchange,), {"proxy": proxy})) as host:
        proxy.endpoint = f"http://{host}"
        yield proxy


class _Exchange(Handler):
    """One client's connection, and the one to moto that belongs to it."""

    proxy: FaultProxy

    @functools.cached_property
    def _moto(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.proxy.upstream)

    def finish(self) -> None:
        self._moto.close()
        super().finish()

    def _exchange(self) -> None:
        request = self._request()
        fault = self.proxy.rule(request)
        if fault is None or not self._fits(fault.kind, request):
            answer = self._forward(request)
        else:
            self.proxy.met(request, fault.kind)
            left = fault.seconds and self.client_leaves(fault.seconds)
            answer = None if left else self._meet(fault.kind, request)
        if answer is None:
            self.close_connection = True
            return
        # What a HEAD is about has a length, though it is not sent.
        length = answer.headers.get("Content-Length") if request.method == "HEAD" else None
        headers = {**answer.headers, "Content-Length": length or str(len(answer.content))}
        self.write(answer.status, headers, answer.content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _exchange  # noqa: N815  as http.server calls them

    def _request(self) -> Request:
        body = self.read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        service, operation = identify(self.command, self.path, headers)
        attempt = re.search(r"attempt=(\d+)", headers.get("amz-sdk-request", ""))
        return Request(
            service=service,
            operation=operation,
            number=self.proxy.count(operation),
            attempt=int(attempt[1]) if attempt else 1,
            call=headers.get("amz-sdk-invocation-id", ""),
            method=self.command,
            path=self.path,
            headers={name: value for name, value in headers.items() if name not in _NOT_FORWARDED},
            body=body,
        )

    def _fits(self, kind: Kind, request: Request) -> bool:
        """Whether a fault can happen to a request at all; else it passes."""
        if kind in {"conflict", "exists"}:
            return request.operation == "PutObject" and "if-none-match" in request.headers
        if kind == "lost":
            return request.operation in _BY_RECEIPT and not self._why_stale(request)
        return kind not in {"duplicate", "ghost", "copy"} or self._held(request) is not None

    def _meet(self, kind: Kind, request: Request) -> Answer | None:
        """Lets a fault happen; None ends the connection."""
        if kind in {"duplicate", "ghost", "copy"}:
            return self._repeat(kind, request)
        if kind == "slow":
            return self._forward(request)
        if kind == "lost":
            self._release(request)
        if kind in {"exists", "reset-after"}:
            self._forward(request)
        if kind in {"reset", "reset-after"}:
            self._reset()
        code = _CODES.get((request.service, kind))
        return refusal(request, *code) if code else None

    def _repeat(self, kind: Kind, request: Request) -> Answer:
        message = self._held(request)
        if message and kind == "ghost":
            content = json.dumps({"Messages": [self.proxy.receipts.ghost(message)]})
            return Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, content.encode())
        if message and kind == "copy":
            self._sqs(request, "SendMessage", MessageBody=message.content["Body"])
        if message and kind == "duplicate":
            message.shared = True
            self._sqs(request, "ChangeMessageVisibility", ReceiptHandle=message.newest, VisibilityTimeout=0)
        return self._forward(request)

    def _held(self, request: Request) -> Message | None:
        """What somebody holds of the queue that is asked for messages."""
        if request.operation != "ReceiveMessage":
            return None
        return self.proxy.receipts.in_flight(_queue(request))

    def _release(self, request: Request) -> None:
        """Takes a message from its holder and shows it to others."""
        receipt = request.parameters["ReceiptHandle"]
        self._sqs(request, "ChangeMessageVisibility", ReceiptHandle=receipt, VisibilityTimeout=0)
        self.proxy.receipts.change(receipt, 0)

    def _why_stale(self, request: Request) -> str:
        if request.operation not in _BY_RECEIPT:
            return ""
        return self.proxy.receipts.why_stale(request.parameters["ReceiptHandle"])

    def _forward(self, request: Request) -> Answer:
        if why := self._why_stale(request):
            self.proxy.met(request, "stale")
            if request.operation == "DeleteMessage" and self.proxy.stale_deletes == "ignored":
                return Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}")
            late = request.operation == "ChangeMessageVisibility" and why == "expired"
            return refusal(request, 400, _NOT_IN_FLIGHT if late else "ReceiptHandleIsInvalid")
        self.proxy.met(request, "passed")
        answer = self._send(request.method, request.path, request.body, request.headers)
        if answer.status == HTTPStatus.OK and request.service == "sqs":
            self._track(request, answer)
        return answer

    def _track(self, request: Request, answer: Answer) -> None:
        receipts, given = self.proxy.receipts, request.parameters
        match request.operation:
            case "ReceiveMessage":
                for content in json.loads(answer.content or b"{}").get("Messages", []):
                    receipts.hand_out(_queue(request), content, self._visibility_seconds(request))
            case "ChangeMessageVisibility":
                receipts.change(given["ReceiptHandle"], given["VisibilityTimeout"])
            case "DeleteMessage":
                receipts.delete(given["ReceiptHandle"])
            case _:
                pass

    def _visibility_seconds(self, request: Request) -> float:
        given = request.parameters.get("VisibilityTimeout")
        if given is None:
            answer = self._sqs(request, "GetQueueAttributes", AttributeNames=["VisibilityTimeout"])
            given = json.loads(answer.content)["Attributes"]["VisibilityTimeout"]
        return float(given)

    def _sqs(self, request: Request, operation: str, **parameters: object) -> Answer:
        """Asks moto for something more about the queue of a request."""
        body = json.dumps({"QueueUrl": request.parameters["QueueUrl"], **parameters}).encode()
        return self._send("POST", "/", body, {**request.headers, "x-amz-target": f"AmazonSQS.{operation}"})

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self._moto.request(method, path, body or None, dict(headers))
        response = self._moto.getresponse()
        content = response.read()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in _NOT_RETURNED}
        return Answer(response.status, kept, content)

    def _reset(self) -> None:
        """Closes the connection so that the client gets a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


def _queue(request: Request) -> str:
    """A queue's name for the proxy: its URL without the host, which differs by the way to moto."""
    return urlsplit(request.parameters["QueueUrl"]).path
