"""An `up` that fails or dies half-way, and how it goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.engine import tools
from tests.engine.cloud import Refused, Unready
from tests.engine.engine import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEDA = "Release keda"
NEED_KEDA = ("ClusterTriggerAuthentication keda", "ScaledObject summarize", "ScaledObject extract")
JOB = "Job summarize-model"
REASON = "Job failed: BackoffLimitExceeded: model 'llama3.2:nope' not found"
THIRD_MODEL = {"name": "translate", "from": "llama3.2:1b", "prompt": "Translate the document into English."}
QUEUE = "Queue translate"
HOLD_SECONDS = 60


def _raises(error: Exception) -> Callable[[], None]:
    def hook() -> None:
        raise error

    return hook


def test_an_up_that_failed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What needs the failed resource is not begun; a second `up` makes the rest, and nothing twice."""
    stack = Stack.new(tools.pulumi_cli(), tmp_path / "stack")
    cloud = stack.cloud
    cloud.before["create", KEDA] = _raises(Refused("could not download chart"))
    run = stack.run("up", "--yes", "--skip-preview", fails=True)
    assert "could not download chart" in run.output
    made = {name for verb, name in cloud.log if verb == "created"}
    assert made.isdisjoint({KEDA, *NEED_KEDA})
    cloud.before.clear()
    cloud.log.clear()
    stack.up()
    made_later = {name for verb, name in cloud.log if verb == "created"}
    assert {KEDA, *NEED_KEDA} <= made_later
    assert made & made_later == set()
    assert stack.run("preview", "--expect-no-changes").steps == {}
    stack.close()


def test_a_model_that_does_not_become_ready_fails_the_up_with_its_reason(stack: Stack) -> None:
    """Its pods go on with the model that they have; the next `up` makes the failed Job anew."""
    served = stack.cloud.the("Deployment summarize").properties["spec"]["template"]
    models = stack.models
    models[0]["from"] = "llama3.2:nope"
    stack.configure({"models": models})
    stack.cloud.after["create", JOB] = _raises(Unready(REASON))
    run = stack.run("up", "--yes", "--skip-preview", fails=True)
    assert REASON in run.output
    assert stack.cloud.the("Deployment summarize").properties["spec"]["template"] == served

    stack.cloud.after.clear()
    # Nothing was edited: that the Job failed is reason enough.
    steps = stack.up().steps
    assert (steps[JOB], steps["Deployment summarize"]) == ("replace", "update")
    assert stack.cloud.the(JOB).unready == ""
    assert stack.run("preview", "--expect-no-changes").steps == {}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_up_that_was_killed_goes_on_after_the_documented_steps(stack: Stack, moment: str) -> None:
    """`cancel` takes the lock away; what AWS made all the same is deleted by hand; a refresh forgets it.

    `refresh --import-pending-creates` is none of the steps: this CLI takes it, forgets the pending creation,
    and does not adopt what was made.
    """
    stack.configure({"models": [*stack.models, THIRD_MODEL]})
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        go_on.wait(HOLD_SECONDS)
        if moment == "before":
            raise Refused("the one who asked is gone")

    hooks = stack.cloud.before if moment == "before" else stack.cloud.after
    hooks["create", QUEUE] = hold
    with stack.running("up", "--yes", "--skip-preview") as process:
        assert reached.wait(HOLD_SECONDS)
        process.kill()
        process.wait()
    go_on.set()
    hooks.clear()

    assert "currently locked" in stack.run("up", "--yes", "--skip-preview", fails=True).output
    stack.run("cancel", "--yes")
    orphans = stack.cloud.ids(QUEUE)
    assert len(orphans) == (1 if moment == "after" else 0)
    for orphan in orphans:
        del stack.cloud.things[orphan]
    stack.run("refresh", "--yes", "--skip-preview", "--clear-pending-creates")
    stack.up()
    assert len(stack.cloud.ids(QUEUE)) == 1
    assert stack.run("preview", "--expect-no-changes").steps == {}
