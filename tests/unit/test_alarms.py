"""What each alarm asks, for how long, and what becomes of it; all of it pure.

What CloudWatch makes of an expression is not run here: the tests read expressions as its user guide does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from components import alarms, settings
from components.metrics import Metric, Queues, Statistic

if TYPE_CHECKING:
    from components.alarms import Alarm

KEPT_SECONDS = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's value at one time, or None where nothing was sent, in CloudWatch's arithmetic.

    In a sum a missing value is 0 as long as the other one is there; compared with a number it is no value
    (CloudWatch user guide, "Using metric math").
    """

    number: float | None

    def __add__(self, other: Value) -> Value:
        """The sum of what is there."""
        there = [each.number for each in (self, other) if each.number is not None]
        return Value(sum(there) if there else None)

    def __mul__(self, factor: float) -> Value:
        """Nothing stays nothing."""
        return Value(None if self.number is None else self.number * factor)

    def compared(self, sign: str, bound: float) -> bool | None:
        """With a number: more than it, or the same."""
        if self.number is None:
            return None
        return self.number > bound if sign == ">" else self.number == bound


def _result(alarm: Alarm, **values: float | None) -> bool | None:
    """What an expression of the form IF(a > 0 AND b == 0, 1, 0) is when its metrics have these values."""
    found = re.fullmatch(r"IF\((.+) (>) 0 AND (.+) (==) 0, 1, 0\)", alarm.expression)
    assert found
    assert values.keys() == alarm.metrics.keys()
    names: dict[str, Any] = {key: Value(value) for key, value in values.items()}
    first, second = (
        eval(found[at], names).compared(found[at + 1], 0)  # noqa: S307  the program's own expression
        for at in (1, 3)
    )
    return None if first is second is None else bool(first and second)


def _settings(*models: dict[str, object], **stack: object) -> settings.Settings:
    given = [{"name": f"m{number}", "from": "tiny", **model} for number, model in enumerate(models)]
    return settings.parse({"image": "an-image:1", "models": given, **stack})


def _of_model(model: dict[str, object]) -> dict[str, Alarm]:
    """The alarms of one model, by what they are about."""
    stack = _settings(model)
    queues = Queues("work", "dead-letters", "undelivered")
    made = alarms.of_model(stack.models[0], stack, queues, kept_seconds=KEPT_SECONDS)
    return {each.name.removeprefix("m0-"): each for each in made}


def _of_pool(*models: dict[str, object], **stack: object) -> tuple[Alarm, ...]:
    """The alarms of the one pool that these models share."""
    parsed = _settings(*models, **stack)
    (pool,) = parsed.pools
    queues = {model.name: Queues(f"work-{model.name}", "", "") for model in parsed.models}
    return alarms.of_pool(pool, parsed, scaling_group="group", queues=queues)


def test_the_alarms_of_a_model_are_these() -> None:
    """Each asks SQS, of the queue that can tell."""
    rows: tuple[tuple[str, str, str, Statistic], ...] = (
        ("oldest", "ApproximateAgeOfOldestMessage", "work", "Maximum"),
        ("dead", "ApproximateNumberOfMessagesVisible", "dead-letters", "Maximum"),
        ("undelivered", "ApproximateNumberOfMessagesVisible", "undelivered", "Maximum"),
        ("in_hand", "ApproximateNumberOfMessagesNotVisible", "work", "Maximum"),
        ("finished", "NumberOfMessagesDeleted", "work", "Sum"),
    )
    of_queue = {
        key: Metric("AWS/SQS", name, {"QueueName": queue}, statistic) for key, name, queue, statistic in rows
    }
    assert {
        name: ({key: of_queue[key] for key in each.metrics} == each.metrics, each.above, each.seconds)
        for name, each in _of_model({}).items()
    } == {
        "oldest-document": (True, 3600, 300),
        "dead-letters": (True, 0, 300),
        "undelivered": (True, 0, 300),
        "stuck": (True, 0, 3600),
    }


@pytest.mark.parametrize(
    ("in_hand", "finished", "found"),
    [(2, None, True), (2, 0, True), (2, 1, False), (0, None, False), (None, None, None), (None, 3, False)],
)
def test_stuck_is_in_hand_and_nothing_finished(
    *, in_hand: float | None, finished: float | None, found: bool | None
) -> None:
    """SQS sends a count of deletions only when there are some: without one, none was finished."""
    assert _result(_of_model({})["stuck"], in_hand=in_hand, finished=finished) is found


@pytest.mark.parametrize(
    ("nodes", "one", "other", "found"),
    [
        (1, None, None, True),
        (1, 0, None, True),
        (1, None, 40, False),
        (0.2, 7, 40, False),
        (0, None, None, False),
    ],
)
def test_idle_is_up_and_all_queues_empty(
    *, nodes: float, one: float | None, other: float | None, found: bool
) -> None:
    """SQS sends no age of a queue without messages: that is what empty looks like."""
    (idle,) = _of_pool({"name": "a"}, {"name": "b-c"})
    assert _result(idle, nodes=nodes, queue_a=one, queue_b_c=other) is found


@pytest.mark.parametrize(("limit", "seconds"), [("29m", 3600), ("31m", 3900), ("43199s", 86_400)])
def test_a_long_answer_gets_a_long_time(limit: str, seconds: int) -> None:
    """Twice the time limit, where that is more than an hour: up to the day that an alarm can look back."""
    made = _of_model({"timeLimit": limit})
    assert (made["oldest-document"].above, made["stuck"].seconds) == (seconds, seconds)


def test_a_paused_model_may_keep_its_documents_until_they_are_lost() -> None:
    """Two days before SQS deletes the oldest; and they are no reason for a node to be up."""
    oldest = _of_model({"maxInstances": 0})["oldest-document"]
    assert KEPT_SECONDS - oldest.above == 2 * 86_400
    assert oldest.description == "m0 is paused, and SQS will soon delete its oldest documents"
    (idle,) = _of_pool({"maxInstances": 0}, {})
    assert idle.expression == "IF(nodes > 0 AND nodes * 0 + queue_m1 == 0, 1, 0)"
    (all_paused,) = _of_pool({}, {}, maxInstances=0)
    assert _result(all_paused, nodes=1) is True


@pytest.mark.parametrize(
    ("model", "seconds"),
    [
        ({}, [3600]),
        ({"scaling": {"cooldownSeconds": 1800}}, [3600]),
        ({"scaling": {"cooldownSeconds": 7200}}, [9000]),
        ({"scaling": {"cooldownSeconds": 86_400}}, []),
        ({"minInstances": 1}, []),
        ({"minInstances": 1, "maxInstances": 0}, [3600]),
        (
            {"schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "timezone": "UTC", "instances": 1}]},
            [],
        ),
    ],
)
def test_a_node_that_is_kept_on_purpose_is_not_idle(model: dict[str, object], seconds: list[int]) -> None:
    """Idle begins after the cool-down of the pool's models, and not at all where one of them has a floor."""
    assert [each.seconds for each in _of_pool(model, {})] == seconds


def test_an_alarm_holds_ten_metrics() -> None:
    """Where a pool has more models than one can ask about, its alarm has parts, each with its own models."""
    parts = _of_pool(*({} for _ in range(20)))
    assert [each.name for each in parts] == [f"idle-g6-2xlarge-{first}" for first in ("m0", "m9", "m18")]
    assert [len(each.metrics) for each in parts] == [10, 10, 3]
    asked = [key for each in parts for key in each.metrics if key != "nodes"]
    assert asked == [f"queue_m{number}" for number in range(20)]
    assert [each.name for each in _of_pool(*({} for _ in range(9)))] == ["idle-g6-2xlarge"]


def test_what_is_missing_in_a_sum_counts_as_nothing() -> None:
    """The arithmetic of these tests is the user guide's."""
    missing, two = Value(None), Value(2)
    assert (two + missing).number == 2
    assert (two * 0 + missing).compared("==", 0) is True
    assert (missing + missing).number is None
    assert missing.compared("==", 0) is None
