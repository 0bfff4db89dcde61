"""An API server that answers by a script, with a CA of its own, and what the kubelet mounts of it."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runtime import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

POD = {"POD_NAMESPACE": "letters", "POD_NAME": "letters-7d9c-x"}
"""What a pod's own spec tells it."""


class Request(NamedTuple):
    """What came: path and query as they were sent, and the headers that matter."""

    method: str
    path: str
    authorization: str | None
    content_type: str | None
    body: bytes


class ApiServer(ThreadingHTTPServer):
    """Notes every request, and answers as it is told.

    Attributes:
        requests: all that came.
        answer: the status and the body for a request.
    """

    def __init__(self, credentials: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.answer: Callable[[Request], tuple[int, bytes]] = lambda _: (200, b"{}")
        self._credentials = credentials

    @property
    def environment(self) -> dict[str, str]:
        """What the kubelet tells a container."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server_port)}

    @property
    def cluster(self) -> cluster.Cluster:
        """What a pod makes of that."""
        found = cluster.connect(self.environment, self._credentials)
        assert found is not None
        return found

    def refuse(self, status: int) -> None:
        """Answers with this status from now on."""
        self.answer = lambda _: (status, b'{"kind": "Status", "message": "why"}')


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Takes a request."""
        server = cast("ApiServer", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        authorization, content_type = (self.headers[name] for name in ("Authorization", "Content-Type"))
        request = Request(self.command, self.path, authorization, content_type, body)
        server.requests.append(request)
        status, answer = server.answer(request)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PATCH = do_DELETE = do_GET  # noqa: N815  the base's own names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's own name
        """Says nothing."""


def issue(folder: Path) -> None:
    """Makes the cluster's CA, which is the API server's certificate too, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@contextlib.contextmanager
def running(credentials: Path) -> Generator[ApiServer]:
    """Runs one whose CA and key lie in this folder; its token is put there."""
    (credentials / "token").write_text("first\n")
    with ApiServer(credentials) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials / "ca.crt", credentials / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
