"""What a worker does not take whose documents are the results of another task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.handler.world import World


@pytest.mark.parametrize(
    "document",
    ["s3://in/task/a.txt", "s3://out/task/a.txt", "s3://out/records/first/a.txt", "s3://in/first/a"],
)
async def test_it_takes_results_of_that_task_alone(make: Callable[..., World], document: str) -> None:
    """Neither documents that are put for it, nor its own results, nor anybody's records."""
    world = make(body=f'{{"document": "{document}"}}', after="first")
    assert await world.handle() == ["dead_letter document misplaced"]
