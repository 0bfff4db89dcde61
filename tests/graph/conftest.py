"""The graphs of the stack files, evaluated once for all tests that only read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.graph import ROOT, Graph, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _outputs_are_no_text() -> Iterator[None]:
    """An Output in an f-string raises, instead of leaving a sentence about itself in somebody's input."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "true")
        yield


@pytest.fixture(scope="session")
def dev(_outputs_are_no_text: None) -> Graph:
    """A stack of two models on GPUs, both pulled by name."""
    return evaluate(ROOT / "Pulumi.dev.yaml")


@pytest.fixture(scope="session")
def local(_outputs_are_no_text: None) -> Graph:
    """A stack of one model on CPUs, built from a file in S3."""
    return evaluate(ROOT / "Pulumi.local.yaml")
