"""Fixtures of the engine tier: one stack that is up, and for each test that changes it a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cli.graph import Graph, evaluate
from tests.engine import tools
from tests.engine.engine import STACK_FILE, Run, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Made:
    """A stack that was previewed from nothing and then made: to be read, not to be changed."""

    stack: Stack
    preview: Run
    up: Run


@pytest.fixture(scope="session")
def graph() -> Graph:
    """What mocks say of the same stack file."""
    return evaluate(STACK_FILE)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The stack of `Pulumi.dev.yaml`: two models on GPUs, protected."""
    stack = Stack.new(tools.pulumi_cli(), tmp_path_factory.mktemp("engine") / "made")
    yield Made(stack, stack.run("preview"), stack.up())
    stack.close()


@pytest.fixture
def stack(made: Made, tmp_path: Path) -> Iterator[Stack]:
    """A copy of that stack, which is up, for one test to change."""
    copy = made.stack.copy(tmp_path / "stack")
    yield copy
    copy.close()
