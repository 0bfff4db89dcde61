"""The pod's own object: calls against a scripted API server, times by a clock that the test holds."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from runtime.cluster import ClusterError
from runtime.worker.pod import Pod, connect, mind
from tests.unit.in_cluster.api_server import POD, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.in_cluster.api_server import ApiServer

PATH = "/api/v1/namespaces/letters/pods/letters-7d9c-x"


@pytest.fixture
def pod(api: ApiServer, credentials: Path) -> Pod:
    """A pod of that cluster."""
    found = connect({**api.environment, **POD}, credentials)
    assert found is not None
    return found


async def test_the_cost_is_one_patch_of_one_annotation(api: ApiServer, pod: Pod) -> None:
    """Exactly this goes out, and nothing beside it: the admission policy refuses more."""
    await pod.set_deletion_cost("1000")
    body = b'{"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "1000"}}}'
    assert api.requests == [Request("PATCH", PATH, "Bearer first", "application/merge-patch+json", body)]


async def test_a_pod_asks_for_its_own_end_and_no_other_s(api: ApiServer, pod: Pod) -> None:
    """Without a word of how: the grace time is the pod's own."""
    await pod.delete()
    assert api.requests == [Request("DELETE", PATH, "Bearer first", None, b"")]


def test_a_pod_that_is_not_told_who_it_is_or_has_no_token_is_none(
    api: ApiServer, credentials: Path, tmp_path: Path
) -> None:
    """Its name, its namespace and a cluster: without any of them it cannot be told from others."""
    environment = {**api.environment, **POD}
    assert [connect({**environment, name: ""}, credentials) for name in environment] == [None] * 4
    assert connect(environment, tmp_path) is None


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
            raise ClusterError("no")
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
