"""Fixtures of the cluster tier: one cluster for all tests, and one for each test that breaks what it gets."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.cluster import cluster as clusters
from tests.cluster import tools
from tests.cluster.processes import Processes
from tests.cluster.queues import Queues, operator_environment
from tests.cluster.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from tests.cluster.cluster import Cluster

MOTO_SECONDS = 30


@pytest.fixture(scope="session", autouse=True)
def _outputs_are_no_text() -> Iterator[None]:
    """An Output in an f-string raises, instead of leaving a sentence about itself in somebody's input."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "true")
        yield


@pytest.fixture(scope="session")
def programs() -> Mapping[str, Path]:
    """The control plane's programs; `make cluster-tools` builds them before, without a test's time limit."""
    return tools.folders()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """AWS on loopback, in a process that does not outlive the run either."""
    with Processes(tmp_path_factory.mktemp("moto")) as processes:
        processes.start("moto", sys.executable, "-m", "tests.worker.moto_server")
        yield processes.wait_for("moto's endpoint", lambda: processes.read_log("moto").strip(), MOTO_SECONDS)


@pytest.fixture(scope="session")
def cluster(
    programs: Mapping[str, Path], moto: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Cluster]:
    """The cluster that tests share; each leaves it whole."""
    folder = tmp_path_factory.mktemp("cluster")
    with clusters.running(programs, folder, operator_environment(moto)) as running:
        yield running


@pytest.fixture(scope="session")
def stack(cluster: Cluster, moto: str) -> Generator[Stack]:
    """The stack in the shared cluster; tests bring it up as they need it, each with models of its own."""
    with _followed(cluster, moto) as made:
        yield made


@pytest.fixture
def own_stack(programs: Mapping[str, Path], moto: str, tmp_path: Path) -> Generator[Stack]:
    """A stack in a cluster of the test's own, which may be left broken."""
    with (
        clusters.running(programs, tmp_path / "cluster", operator_environment(moto)) as running,
        _followed(running, moto) as made,
    ):
        yield made


@contextmanager
def _followed(cluster: Cluster, moto: str) -> Generator[Stack]:
    made = Stack(cluster, Queues(moto))
    try:
        yield made
    finally:
        made.close()
