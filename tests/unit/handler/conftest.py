"""Worlds for the tests of the handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.handler.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Iterable[Callable[..., World]]:
    """Makes worlds; at the end none has a file open, nor anything in its journal that was seen to."""
    worlds: list[World] = []

    def world(**given: Any) -> World:  # noqa: ANN401
        worlds.append(World(tmp_path / "in-hand", **given))
        return worlds[-1]

    yield world
    assert all(fetched.file.closed for each in worlds for fetched in each.files)
