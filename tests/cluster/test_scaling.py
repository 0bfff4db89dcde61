"""Queue depth moves pods: by KEDA's own poll and the real autoscaler, on the objects that a stack makes.

Times are shortened by the stack's own `scaling`, and taken from a watch: creation times have whole seconds.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.graph import ROOT
from tests.cluster import stacks
from tests.cluster.cluster import HPA_SYNC_SECONDS
from tests.cluster.stacks import COOLDOWN_SECONDS, POLL_SECONDS, SCALE_DOWN_PERIOD_SECONDS, model

if TYPE_CHECKING:
    from tests.cluster.stack import Stack

SLACK_SECONDS = 5
"""For two busy processor cores to do what takes milliseconds."""

FIRST_POD_SECONDS = POLL_SECONDS + SLACK_SECONDS
ALL_PODS_SECONDS = FIRST_POD_SECONDS + 2 * HPA_SYNC_SECONDS
TO_ZERO_SECONDS = COOLDOWN_SECONDS + POLL_SECONDS + SLACK_SECONDS

SOONEST_ZERO_SECONDS = COOLDOWN_SECONDS - POLL_SECONDS - 1
"""The cool-down counts from the last poll that saw work, in whole seconds, and not from the last document."""

TABLE = ROOT / "docs" / "scaling.md"


def test_pods_follow_the_documents(stack: Stack) -> None:
    """No pod without documents, one for one, the most for many; work in hand keeps a pod; then none again."""
    graph = stacks.quick(model("quiet"), model("single", maxInstances=2), model("many", maxInstances=3))
    stack.up(graph)
    pods, single, many = stack.pods, stack.queue("single"), stack.queue("many")

    pods.stays("an empty queue has no pods", lambda: not pods.ever("single"), 2 * POLL_SECONDS)

    sent = time.monotonic()
    single.send(1)
    many.send(9)
    pods.wait_for("one document has a pod", lambda: pods.of("single"), FIRST_POD_SECONDS)
    pods.wait_for("nine have the most", lambda: len(pods.ready("many")) == 3, ALL_PODS_SECONDS)
    (first,) = pods.ever("single")
    assert first.created - sent < FIRST_POD_SECONDS
    assert min(pod.created for pod in pods.ever("many")) - sent < FIRST_POD_SECONDS

    assert (pods.peak("single"), pods.peak("many")) == (1, 3)

    in_hand, last, rest = single.take(1), many.take(1), many.take(8)
    many.finish(rest)
    # A change of the stack in the middle of the work is none to the pods.
    stack.up(graph)
    pods.stays(
        "a document in hand keeps its pod, whatever becomes of another model's",
        lambda: pods.of("single") == [first] and pods.of("many"),
        COOLDOWN_SECONDS + 2 * POLL_SECONDS,
    )
    (kept,) = pods.of("many")
    one, other = sorted(pod.left for pod in pods.ever("many") if pod.left)
    assert other - one > SCALE_DOWN_PERIOD_SECONDS - 1

    single.finish(in_hand)
    many.finish(last)
    finished = time.monotonic()
    pods.wait_for("no pods", lambda: first.left and kept.left, TO_ZERO_SECONDS)
    assert first.left
    assert kept.left
    assert min(first.left, kept.left) - finished > SOONEST_ZERO_SECONDS
    assert (pods.peak("single"), pods.peak("many")) == (1, 3)
    assert pods.ever("single") == [first]
    assert pods.ever("quiet") == []

    # Since it was scaled to zero nobody owns `replicas` any more: an update must not take it for its own.
    single.send(1)
    pods.wait_for("it wakes again", lambda: pods.ready("single"), FIRST_POD_SECONDS)
    (again,) = pods.of("single")
    stack.up(graph)
    pods.stays("an update leaves it alone", lambda: pods.of("single") == [again], POLL_SECONDS)


def test_a_pause_ends_pods_at_once_and_its_end_brings_them_back(stack: Stack) -> None:
    """Work in hand or not, `maxInstances: 0` means no pods, without a cool-down; documents wait."""
    going, paused = (stacks.quick(model("halted", maxInstances=most)) for most in (2, 0))
    stack.up(going)
    stack.queue("halted").send(3)
    stack.pods.wait_for("two pods", lambda: len(stack.pods.ready("halted")) == 2, ALL_PODS_SECONDS)
    stack.up(paused)
    stack.pods.wait_for("no pods", lambda: not stack.pods.of("halted"), SLACK_SECONDS)
    stack.pods.stays("a paused model has no pods", lambda: not stack.pods.of("halted"), 2 * POLL_SECONDS)
    stack.up(going)
    stack.pods.wait_for("two pods", lambda: len(stack.pods.ready("halted")) == 2, ALL_PODS_SECONDS)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the truth table: a model's config, and the pods that come of it."""

    least: int
    most: int
    windows: tuple[int, ...]
    empty: int
    in_windows: int
    long: int


def test_the_truth_table_is_true(stack: Stack) -> None:
    """Each row of docs/scaling.md, outside and inside its windows, with no documents and with many."""
    rows = _rows()
    cases = {
        f"row-{number}-{'inside' if inside else 'outside'}": (row, inside)
        for number, row in enumerate(rows, start=1)
        for inside in ((False, True) if row.windows else (False,))
    }
    stack.up(stacks.quick(*(_model(name, row, inside=inside) for name, (row, inside) in cases.items())))
    empty = {name: row.in_windows if inside else row.empty for name, (row, inside) in cases.items()}
    long = {name: row.long for name, (row, _) in cases.items()}

    def counts() -> dict[str, int]:
        return {name: len(stack.pods.of(name)) for name in cases}

    def settles(wanted: dict[str, int]) -> None:
        with contextlib.suppress(TimeoutError):
            stack.pods.wait_for("each row has its pods", lambda: counts() == wanted, ALL_PODS_SECONDS)
        assert counts() == wanted

    settles(empty)
    stack.pods.stays("the pods of empty queues", lambda: counts() == empty, 2 * POLL_SECONDS)
    for name in cases:
        stack.queue(name).send(max(long.values()) + 1)
    settles(long)
    stack.pods.stays("the pods of long queues", lambda: counts() == long, 2 * POLL_SECONDS)


def _rows() -> list[Row]:
    """The rows of the table whose head starts with `minInstances`."""
    cells = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith("|")
    ]
    head = next(row for row in cells if row[0] == "minInstances")
    table: list[dict[str, str]] = []
    for row in cells[cells.index(head) + 2 :]:
        if len(row) != len(head):
            break
        table.append(dict(zip(head, row, strict=True)))
    return [
        Row(
            least=int(row["minInstances"]),
            most=int(row["maxInstances"]),
            windows=tuple(int(each) for each in row["schedule"].split(",") if each != "-"),
            empty=int(row["empty"]),
            in_windows=int(row["empty, in the windows"]),
            long=int(row["long"]),
        )
        for row in table
    ]


def _model(name: str, row: Row, *, inside: bool) -> dict[str, Any]:
    """A model as the row says, all of whose windows are open now or none."""
    now = datetime.now(UTC)
    start, end = (now + timedelta(hours=hours) for hours in ((-1, 1) if inside else (1, 2)))
    window = {"start": f"{start:%M %H} * * *", "end": f"{end:%M %H} * * *", "timezone": "UTC"}
    return model(
        name,
        minInstances=row.least,
        maxInstances=row.most,
        schedule=[{**window, "instances": instances} for instances in row.windows],
    )
