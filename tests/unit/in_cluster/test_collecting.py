"""`ollama-eks-provision --collect` as its CronJob runs it: a process, a store, an API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.in_cluster.api_server import ApiServer

KEPT, OLD = "a" * 64, "b" * 64
DEPLOYMENTS = "apis/apps/v1/namespaces/ollama/deployments"
JOBS = "apis/batch/v1/namespaces/ollama-models/jobs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two models, published long ago."""
    for name in (KEPT, OLD):
        marker = tmp_path / "models" / name / "model.json"
        (marker.parent / "blobs").mkdir(parents=True)
        marker.write_text("{}")
        os.utime(marker, (0, time.time() - 30 * 24 * 3600))
    return tmp_path / "models"


def _collect(api: ApiServer, credentials: Path, store: Path, *lists: str) -> tuple[int, list[dict[str, Any]]]:
    """Runs the command as in a pod that has these credentials: its exit code and its lines."""
    program = f"""if True:
        import functools, pathlib
        from runtime import cluster, provision
        cluster.connect = functools.partial(cluster.connect, credentials=pathlib.Path({str(credentials)!r}))
        provision.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", program, "--collect", store, *(f"--roots-of={path}" for path in lists)],
        env={"PATH": os.environ["PATH"]} | api.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]


def _list(*models: str) -> bytes:
    templates = [{"metadata": {"annotations": {"ollama-eks/model": model}}} for model in models]
    items = [{"metadata": {"name": "x"}, "spec": {"template": template}} for template in templates]
    return json.dumps({"metadata": {}, "items": items}).encode()


def _left(store: Path) -> set[str]:
    return {path.name for path in store.iterdir() if not path.name.startswith(".")}


def test_what_no_workload_names_goes(api: ApiServer, credentials: Path, store: Path) -> None:
    """The roots are those of all lists together, and each list says what it brought."""
    api.answer = lambda request: (200, _list(KEPT) if "/jobs" in request.path else _list())
    code, lines = _collect(api, credentials, store, DEPLOYMENTS, JOBS)
    assert code == 0
    assert [(line["path"], line["models"]) for line in lines if line["event"] == "roots"] == [
        (DEPLOYMENTS, 0),
        (JOBS, 1),
    ]
    assert _left(store) == {KEPT}


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        pytest.param(
            (403, b"no"),
            (
                os.EX_NOPERM,
                f"{JOBS} cannot be listed: the API server answered 403: no; nothing was removed",
            ),
            id="refused",
        ),
        pytest.param(
            (200, _list()),
            (
                os.EX_DATAERR,
                "there are no roots, so every model of the store would go: if that is meant, say --no-roots",
            ),
            id="none",
        ),
    ],
)
def test_without_all_roots_nothing_goes(
    api: ApiServer, credentials: Path, store: Path, answer: tuple[int, bytes], end: tuple[int, str]
) -> None:
    """One list that fails is enough, and so are lists that are all empty: a stack in use has models."""
    api.answer = lambda request: answer if "/jobs" in request.path else (200, _list())
    code, lines = _collect(api, credentials, store, DEPLOYMENTS, JOBS)
    assert (code, lines[-1]["event"]) == end
    assert _left(store) == {KEPT, OLD}
