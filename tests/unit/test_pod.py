"""The pod's deletion cost: calls against a scripted API server, times by a clock that the test holds."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from runtime.worker.pod import Pod, PodError, connect, mind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENVIRONMENT = {
    "KUBERNETES_SERVICE_HOST": "127.0.0.1",
    "KUBERNETES_SERVICE_PORT": "6443",
    "POD_NAMESPACE": "letters",
    "POD_NAME": "letters-7d9c-x",
}


class ApiServer(ThreadingHTTPServer):
    """Notes every request, and answers with its status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str | None], bytes]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        """Takes a patch."""
        server = cast("ApiServer", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
        server.requests.append((self.command, self.path, headers, body))
        answer = b'{"message":"why"}'
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's own name
        """Says nothing."""


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the kubelet mounts, and the API server's key beside it."""
    folder = tmp_path_factory.mktemp("serviceaccount")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


@pytest.fixture
def api(credentials: Path) -> Iterator[ApiServer]:
    """An API server of the cluster whose CA the pod has."""
    (credentials / "token").write_text("first\n")
    with ApiServer() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials / "ca.crt", credentials / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _pod(api: ApiServer, credentials: Path) -> Pod:
    pod = connect({**ENVIRONMENT, "KUBERNETES_SERVICE_PORT": str(api.server_port)}, credentials)
    assert pod is not None
    return pod


async def test_the_cost_is_one_patch_of_one_annotation(api: ApiServer, credentials: Path) -> None:
    """Exactly this request goes out, with the token as it is at that moment."""
    pod = _pod(api, credentials)
    await pod.set_deletion_cost("1000")
    (credentials / "token").write_text("second\n")
    await pod.set_deletion_cost("0")

    def request(token: str, cost: str) -> tuple[str, str, dict[str, str], bytes]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
        body = b'{"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "'
        path = "/api/v1/namespaces/letters/pods/letters-7d9c-x"
        return "PATCH", path, headers, body + cost.encode() + b'"}}}'

    assert api.requests == [request("first", "1000"), request("second", "0")]


async def test_a_refusal_says_why(api: ApiServer, credentials: Path) -> None:
    """What the API server answers is in the error."""
    api.status = 403
    with pytest.raises(PodError, match=r'^the API server answered 403: \{"message":"why"\}$'):
        await _pod(api, credentials).set_deletion_cost("1000")


async def test_only_the_cluster_s_own_api_server_is_trusted(api: ApiServer, credentials: Path) -> None:
    """A server whose certificate the mounted CA did not sign never sees the token."""
    pod = _pod(api, credentials)
    stranger = Pod(pod.url, pod.token, ssl.create_default_context())
    with pytest.raises(PodError, match="CERTIFICATE_VERIFY_FAILED"):
        await stranger.set_deletion_cost("1000")
    assert api.requests == []


async def test_a_server_that_is_gone_or_a_token_that_is_gone_is_a_pod_error(
    api: ApiServer, credentials: Path
) -> None:
    """Nothing else comes out, whatever is missing."""
    pod = _pod(api, credentials)
    nowhere = Pod("https://127.0.0.1:1/", pod.token, pod.trust)
    with pytest.raises(PodError, match=r"^ConnectError: "):
        await nowhere.set_deletion_cost("1000")
    (credentials / "token").unlink()
    with pytest.raises(PodError, match=r"^FileNotFoundError: "):
        await pod.set_deletion_cost("1000")


@pytest.mark.usefixtures("api")
def test_outside_of_a_cluster_there_is_no_pod(credentials: Path, tmp_path: Path) -> None:
    """Any variable or file that is missing or empty means None; with all of them there is a pod."""
    assert connect(ENVIRONMENT, credentials) is not None
    assert [connect({**ENVIRONMENT, name: ""}, credentials) for name in ENVIRONMENT] == [None] * 4
    assert connect({}, credentials) is None
    for name in ("token", "ca.crt"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes((credentials / name).read_bytes())
        assert connect(ENVIRONMENT, folder) is None


@pytest.mark.usefixtures("api")
def test_an_api_server_on_ipv6_is_found(credentials: Path) -> None:
    """Kubernetes gives the address bare; a URL needs brackets."""
    pod = connect({**ENVIRONMENT, "KUBERNETES_SERVICE_HOST": "fd00::1"}, credentials)
    assert pod is not None
    assert pod.url == "https://[fd00::1]:6443/api/v1/namespaces/letters/pods/letters-7d9c-x"


class Life:
    """A pod that is busy when a script says so, with the time that passes in `sleep` alone.

    Attributes:
        told: when which cost was set, or refused while `refuses` says so.
    """

    def __init__(
        self, busy: Callable[[float], bool], refuses: Callable[[float], bool] = lambda _: False
    ) -> None:
        self.told: list[tuple[float, str]] = []
        self.refused: list[tuple[float, str]] = []
        self._busy = busy
        self._refuses = refuses
        self._now = 0.0

    async def set_deletion_cost(self, cost: str) -> None:
        """Takes a cost."""
        if self._refuses(self._now):
            self.refused.append((self._now, cost))
            raise PodError("no")
        self.told.append((self._now, cost))

    async def run(self, seconds: float) -> None:
        """Minds the pod for so long."""

        async def sleep(step: float) -> None:
            self._now += step
            if self._now > seconds:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await mind(cast("Pod", self), lambda: self._busy(self._now), sleep)


async def test_a_pod_that_is_busy_for_a_second_says_so_and_idle_for_a_second_too() -> None:
    """One patch for each change, a second after it; the first one clears what an earlier container left."""
    life = Life(lambda now: 10 <= now < 20)
    await life.run(60)
    assert life.told == [(1.0, "0"), (11.0, "1000"), (21.0, "0")]


async def test_a_short_document_is_not_worth_a_patch() -> None:
    """Less than a second of work, or of rest between documents, changes nothing."""
    life = Life(lambda now: 10 <= now < 10.75 or (20 <= now < 40 and now % 4 < 3.25))  # until 39.25
    await life.run(60)
    assert life.told == [(1.0, "0"), (21.0, "1000"), (40.25, "0")]


@pytest.mark.parametrize("period", [0.5, 1, 2, 2.5, 3, 4])
async def test_however_it_flutters_two_patches_are_two_seconds_apart(period: float) -> None:
    """No pattern of work makes the pod a burden to the API server."""
    life = Life(lambda now: now % period < period / 2)
    await life.run(600)
    times = [when for when, _ in life.told]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(times))


async def test_what_is_refused_is_tried_again_ever_more_rarely_and_told_once() -> None:
    """Back-off doubles up to a minute, and one line of log stands for all tries of one state."""
    life = Life(lambda _: True, refuses=lambda now: now < 200)
    with capture_logs() as logs:
        await life.run(400)
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(life.refused)]
    assert gaps == [1 + pause for pause in (1, 2, 4, 8, 16, 32, 60, 60)]
    assert {cost for _, cost in life.refused} == {"1000"}
    assert len(life.told) == 1
    assert [(entry["log_level"], entry["busy"], entry["problem"]) for entry in logs] == [
        ("warning", True, "no")
    ]


async def test_after_a_failure_nothing_is_taken_as_set() -> None:
    """A patch whose answer was lost may have counted: the state is told again, even if it is the old one."""
    life = Life(lambda now: not 10 <= now < 11.5, refuses=lambda now: now == 11)
    await life.run(60)
    assert life.refused == [(11.0, "0")]
    assert [cost for _, cost in life.told] == ["1000", "1000"]


async def test_a_pod_that_changes_while_it_is_refused_tells_what_it_is_by_then() -> None:
    """Each state that cannot be told is one line, and what counts in the end is the present state."""
    life = Life(lambda now: now < 10, refuses=lambda now: now < 30)
    with capture_logs() as logs:
        await life.run(100)
    assert [entry["busy"] for entry in logs] == [True, False]
    assert [cost for _, cost in life.told] == ["0"]
