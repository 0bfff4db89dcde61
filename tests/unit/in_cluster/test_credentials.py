"""A worker that has no AWS credentials: how long it waits, what it does then, what it costs the others."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast

import botocore.utils
import pytest
from structlog.testing import capture_logs

from runtime.worker import aws, pod
from runtime.worker.aws import MissingCredentialsError
from runtime.worker.credentials import awaited
from tests.unit.clocks import Clock
from tests.unit.in_cluster.api_server import POD, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.in_cluster.api_server import ApiServer

DELETE = Request("DELETE", "/api/v1/namespaces/letters/pods/letters-7d9c-x", "Bearer first", None, b"")
OF_NOBODY = "the environment holds none, and names no agent that hands them out"


class Sdk:
    """Credentials that are there from some second on, and when they were asked for."""

    def __init__(self, there_at: float) -> None:
        self.clock, self.asked = Clock(), list[float]()
        self._there_at = there_at

    def require(self) -> None:
        """Raises until then."""
        self.asked.append(self.clock.seconds)
        if self.clock.seconds < self._there_at:
            raise MissingCredentialsError("nothing here")


def _pod(api: ApiServer, credentials: Path) -> pod.Pod | None:
    return pod.connect({**api.environment, **POD}, credentials)


async def test_credentials_that_are_there_are_asked_for_once(api: ApiServer, credentials: Path) -> None:
    """Nothing else happens, and no time passes."""
    sdk = Sdk(there_at=0)
    with capture_logs() as logs:
        await awaited(_pod(api, credentials), sdk.require, sdk.clock)
    assert (sdk.asked, api.requests, logs) == ([0], [], [])


async def test_credentials_that_come_within_a_minute_are_waited_for(
    api: ApiServer, credentials: Path
) -> None:
    """Asked for every five seconds, with one line of log; the pod stays."""
    sdk = Sdk(there_at=58)
    with capture_logs() as logs:
        await awaited(_pod(api, credentials), sdk.require, sdk.clock)
    assert sdk.asked == [5.0 * number for number in range(13)]
    assert api.requests == []
    assert [(line["log_level"], line["problem"]) for line in logs] == [("warning", "nothing here")]


async def test_a_pod_without_credentials_for_a_minute_asks_for_its_end_once(
    api: ApiServer, credentials: Path
) -> None:
    """Not before, and not twice: the next one is the next pod's own, a minute later at least."""
    sdk = Sdk(there_at=10_000)
    api.answer = lambda _: (sdk.asked.append(-1), (200, b"{}"))[1]
    with pytest.raises(
        MissingCredentialsError, match=r"^none for 60 s: nothing here; this pod is deleted, since a new one"
    ):
        await awaited(_pod(api, credentials), sdk.require, sdk.clock)
    assert sdk.asked == [*(5.0 * number for number in range(13)), -1]
    assert api.requests == [DELETE]


async def test_an_end_that_is_refused_is_said_and_not_asked_for_again(
    api: ApiServer, credentials: Path
) -> None:
    """The container ends all the same, and the kubelet starts another one, ever more slowly."""
    api.refuse(403)
    sdk = Sdk(there_at=10_000)
    with pytest.raises(
        MissingCredentialsError,
        match=r"could not be deleted: the API server answered 403: why$",
    ):
        await awaited(_pod(api, credentials), sdk.require, sdk.clock)
    assert api.requests == [DELETE]


async def test_outside_of_a_cluster_it_is_a_sentence() -> None:
    """Nobody would make a new pod there."""
    sdk = Sdk(there_at=10_000)
    with pytest.raises(MissingCredentialsError, match=r"give it credentials, then start it again$"):
        await awaited(None, sdk.require, sdk.clock)


class Agent(ThreadingHTTPServer):
    """What hands out credentials to pods: counts how often it is asked, and may refuse."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked, self.status = 0, 200


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Hands them out."""
        server = cast("Agent", self.server)
        server.asked += 1
        given = {
            "AccessKeyId": "test",
            "SecretAccessKey": "test",
            "Token": "test",
            "Expiration": "2100-01-01T00:00:00Z",
        }
        body = json.dumps(given).encode()
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's own name
        """Says nothing."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment in which the SDK finds nothing, and has found nothing yet."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    aws.session.cache_clear()
    yield monkeypatch
    aws.session.cache_clear()


@pytest.fixture
def agent(bare: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent that the environment names."""
    with Agent() as server:
        bare.setenv(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/v1/credentials"
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_what_is_found_is_what_all_clients_use(agent: Agent) -> None:
    """A start asks the agent once, however many clients it makes."""
    aws.require_credentials()
    aws.connect()
    aws.client("cloudwatch")
    assert agent.asked == 1


def test_an_agent_that_has_none_yet_is_asked_anew(agent: Agent) -> None:
    """Its refusal is no crash, and nothing of it is kept."""
    agent.status = 404
    with pytest.raises(MissingCredentialsError, match=r"container-role: .*404"):
        aws.require_credentials()
    agent.status = 200
    aws.require_credentials()


@pytest.mark.usefixtures("bare")
def test_a_pod_that_is_named_no_agent_has_none() -> None:
    """This is how a pod looks that was admitted before its association existed."""
    with pytest.raises(MissingCredentialsError, match=f"^{OF_NOBODY}$"):
        aws.require_credentials()
