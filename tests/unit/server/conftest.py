"""Time for the tests of the model server's state."""

from __future__ import annotations

import pytest

from tests.unit.clocks import Clock


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


@pytest.fixture
def pings_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a model loads its server is pinged without a pause."""
    monkeypatch.setattr("runtime.worker.server.PING_SECONDS", 0)
