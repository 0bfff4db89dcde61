"""The worker's process at its start, in a pod that has no AWS credentials."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.unit.in_cluster.api_server import POD
from tests.unit.tasks import task

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.in_cluster.api_server import ApiServer


class Worker:
    """The worker's own process in a pod without credentials, with a patience of its own.

    Attributes:
        process: it.
        health: where the kubelet asks.
    """

    def __init__(self, api: ApiServer, credentials: Path, folder: Path, patience_seconds: float) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.health = f"http://127.0.0.1:{port}"
        spec = folder / "task.json"
        spec.write_text(task(health_port=port).model_dump_json())
        program = f"""if True:
            import functools, pathlib
            from runtime.worker import credentials, main, pod
            credentials.PATIENCE_SECONDS, credentials.PAUSE_SECONDS = {patience_seconds}, 0.1
            pod.connect = functools.partial(pod.connect, credentials=pathlib.Path({str(credentials)!r}))
            main.main()
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(spec)],
            env=environment | api.environment | POD,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        """It runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """It does not any more."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Waits for its end: its exit code and its lines."""
        output, _ = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in output.splitlines()]


def test_a_worker_without_credentials_deletes_its_pod_and_says_why(
    api: ApiServer, credentials: Path, tmp_path: Path
) -> None:
    """Exit code 77; one warning when it begins to wait, one error when it gives up, and nothing else."""
    with Worker(api, credentials, tmp_path, 0.5) as worker:
        code, lines = worker.end()
    assert code == os.EX_NOPERM
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "no AWS credentials yet"),
        ("error", "no AWS credentials"),
    ]
    assert lines[-1]["problem"].startswith("none for 0.5 s: the environment holds none, and names no agent")
    assert "; this pod is deleted, since" in lines[-1]["problem"]
    assert [(request.method, request.path) for request in api.requests] == [
        ("DELETE", "/api/v1/namespaces/letters/pods/letters-7d9c-x")
    ]


def test_a_worker_that_waits_for_credentials_is_alive_and_can_be_stopped(
    api: ApiServer, credentials: Path, tmp_path: Path
) -> None:
    """Or the kubelet would restart it before its minute is over. It is not ready, and SIGTERM ends it."""
    with Worker(api, credentials, tmp_path, 3600) as worker:
        assert worker.process.stdout is not None
        assert json.loads(worker.process.stdout.readline())["event"] == "no AWS credentials yet"
        asked = ("live", "server", "ready")
        statuses = [httpx.get(f"{worker.health}/{page}").status_code for page in asked]
        assert statuses == [200, 200, 503]
        worker.process.send_signal(signal.SIGTERM)
        code, lines = worker.end()
    assert (code, [line["event"] for line in lines]) == (0, ["stopped"])
    assert api.requests == []
