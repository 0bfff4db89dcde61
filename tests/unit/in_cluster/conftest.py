"""A cluster's API server, and what a pod of it finds mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.in_cluster import api_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.in_cluster.api_server import ApiServer


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the kubelet mounts, and the API server's key beside it."""
    folder = tmp_path_factory.mktemp("serviceaccount")
    api_server.issue(folder)
    return folder


@pytest.fixture
def api(credentials: Path) -> Iterator[ApiServer]:
    """An API server of the cluster whose CA the pod has."""
    with api_server.running(credentials) as server:
        yield server
