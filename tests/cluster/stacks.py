"""The stacks that tests bring up, as changes of the project's own stack files."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cli.graph import ROOT, evaluate

if TYPE_CHECKING:
    from cli.graph import Graph

POLL_SECONDS = 2
COOLDOWN_SECONDS = 10
SCALE_DOWN_PERIOD_SECONDS = 4

QUICK = {
    "pollSeconds": POLL_SECONDS,
    "cooldownSeconds": COOLDOWN_SECONDS,
    "scaleDownPeriodSeconds": SCALE_DOWN_PERIOD_SECONDS,
}
"""Times that a test can wait for; KEDA gets them from the stack's own config."""


def model(name: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401  a stack file's own values
    """A model that every instance type has room for, with one pod for each document."""
    return {
        "name": name,
        "from": "llama3.2:3b",
        "prompt": "Summarize the document.",
        "documentsPerInstance": 1,
        **settings,
    }


def quick(*models: dict[str, Any], **changes: Any) -> Graph:  # noqa: ANN401  likewise
    """The dev stack with other models, scaled within seconds."""
    return evaluate(ROOT / "Pulumi.dev.yaml", {"scaling": QUICK, "models": list(models), **changes})


@cache
def dev() -> Graph:
    """The dev stack as it is."""
    return evaluate(ROOT / "Pulumi.dev.yaml")
