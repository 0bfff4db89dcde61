"""What a worker counts, and how CloudWatch hears of it, by a clock that the test holds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from runtime.metric_names import METRICS_NAMESPACE, MetricName
from runtime.worker.cloudwatch import push
from runtime.worker.failures import TransientFailure
from runtime.worker.metrics import Metrics
from runtime.worker.records import DocumentFacts, FailureFacts, Outcome, Record, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.worker.cloudwatch import Datum

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def _record(outcome: Outcome = "answered", receives: int = 1, **facts: object) -> Record:
    return Record.model_validate(
        {
            "job": "j",
            "attempt": "a",
            "task": "letters",
            "outcome": outcome,
            "document": DocumentFacts(bucket="b", key="letters/1.txt", version="v"),
            "model": "m",
            "model_hash": "h",
            "prompt_hash": "p",
            "options": {},
            "receives": receives,
            "started": STARTED,
            "ended": STARTED + timedelta(seconds=8),
            **facts,
        }
    )


ANSWERED = _record(
    seconds={"waited": 3.0, "fetch": 0.2, "prompt": 1.5, "answer": 4.0}, tokens=Tokens(prompt=700, answer=90)
)
FAILED = _record(
    "failed", seconds={"waited": 1.0}, failure=FailureFacts(kind="document", reason="empty", detail="")
)


def _series(metrics: Metrics) -> dict[str, float]:
    """All series but the buckets, as `name{label=value,...}` without the model, which all of them have."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model") == "letters"
            if "le" not in labels:
                text = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
                found[f"{sample.name.removeprefix('ollama_eks_')}{{{text}}}"] = sample.value
    return found


def _value(name: MetricName, value: float) -> Datum:
    return _datum(name, "Count", Value=value)


def _datum(name: MetricName, unit: str, **values: object) -> Datum:
    dimensions = [{"Name": "Model", "Value": "letters"}]
    return {"MetricName": name.value, "Dimensions": dimensions, "Unit": unit, **values}


def _one(name: MetricName, unit: str, value: float) -> Datum:
    return _datum(name, unit, Values=[value], Counts=[1])


class CloudWatch:
    """Takes pushes, or refuses them as long as it is told to."""

    def __init__(self) -> None:
        self.taken: list[list[Datum]] = []
        self.refused = 0
        self.away = False

    async def put(self, namespace: str, data: list[Datum]) -> None:
        """PutMetricData."""
        assert namespace == "OllamaEks"
        if self.away:
            self.refused += 1
            raise TransientFailure("aws_error", "away")
        self.taken.append(data)


class Minutes:
    """A clock that runs one script: each of its steps is what happens in one minute."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = iter(steps)

    async def sleep(self, seconds: float) -> None:
        """A minute passes; after the last one the worker is cancelled."""
        assert seconds == 60
        step = next(self._steps, None)
        if step is None:
            raise asyncio.CancelledError
        step()


async def _pushed(metrics: Metrics, cloudwatch: CloudWatch, *minutes: Callable[[], object]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await push(metrics, cloudwatch.put, Minutes(*minutes).sleep)


@pytest.fixture
def metrics() -> Metrics:
    """Those of a worker that has done nothing."""
    return Metrics("letters")


def test_a_worker_that_has_done_nothing_shows_zeros_and_no_model(metrics: Metrics) -> None:
    """What can rise starts at 0, and nothing is said of a model that is not loaded."""
    assert _series(metrics) == {
        "prompt_tokens_total{}": 0,
        "answer_tokens_total{}": 0,
        "heartbeat_failures_total{}": 0,
        "documents_in_hand{}": 0,
    }


def test_an_answer_is_counted_with_its_times_and_tokens(metrics: Metrics) -> None:
    """Every fact of an answered record is in exactly one place, and the speed is that of the answer phase."""
    metrics.ended(ANSWERED)
    assert _series(metrics) == {
        "documents_total{class=,outcome=answered,reason=}": 1,
        "document_seconds_count{outcome=answered}": 1,
        "document_seconds_sum{outcome=answered}": 8,
        "phase_seconds_count{phase=fetch}": 1,
        "phase_seconds_sum{phase=fetch}": 0.2,
        "phase_seconds_count{phase=prompt}": 1,
        "phase_seconds_sum{phase=prompt}": 1.5,
        "phase_seconds_count{phase=answer}": 1,
        "phase_seconds_sum{phase=answer}": 4,
        "queue_wait_seconds_count{}": 1,
        "queue_wait_seconds_sum{}": 3,
        "prompt_tokens_total{}": 700,
        "answer_tokens_total{}": 90,
        "answer_tokens_per_second_count{}": 1,
        "answer_tokens_per_second_sum{}": 22.5,
        "heartbeat_failures_total{}": 0,
        "documents_in_hand{}": 0,
    }


@pytest.mark.parametrize("outcome", ["failed", "retried", "released"])
def test_what_is_not_answered_is_counted_by_class_and_reason(metrics: Metrics, outcome: Outcome) -> None:
    """An attempt that failed says whose fault it was, and has no tokens and no speed."""
    metrics.ended(FAILED.model_copy(update={"outcome": outcome}))
    assert {name: value for name, value in _series(metrics).items() if value} == {
        f"documents_total{{class=document,outcome={outcome},reason=empty}}": 1,
        f"document_seconds_count{{outcome={outcome}}}": 1,
        f"document_seconds_sum{{outcome={outcome}}}": 8,
        "queue_wait_seconds_count{}": 1,
        "queue_wait_seconds_sum{}": 1,
    }


def test_only_a_first_receive_tells_how_long_the_queue_is(metrics: Metrics) -> None:
    """A message that came again was in its earlier attempts meanwhile: its wait counts nowhere."""
    metrics.ended(_record("lost", receives=2, ended=None, seconds={"waited": 500.0}))
    assert {name: value for name, value in _series(metrics).items() if value} == {
        "documents_total{class=,outcome=lost,reason=}": 1
    }
    assert metrics.news.data("letters") == []


@pytest.mark.parametrize(
    ("answered", "tokens"), [(0.0, Tokens(prompt=1, answer=1)), (2.0, Tokens(prompt=1, answer=0))]
)
def test_no_speed_without_tokens_or_time(metrics: Metrics, answered: float, tokens: Tokens) -> None:
    """An embedding, or an answer too quick for the clock, has no speed: not 0, and not infinitely many."""
    metrics.ended(_record(seconds={"answer": answered}, tokens=tokens))
    assert [name for name in _series(metrics) if name.startswith("answer_tokens_per_second")] == []


def test_the_model_and_the_messages_in_hand_are_as_last_said(metrics: Metrics) -> None:
    """Gauges show the last load and the present number; failed heartbeats add up."""
    for seconds in (40.0, 2.5):
        metrics.model_loaded(seconds, resident_bytes=6_000_000_000, gpu_bytes=5_000_000_000)
    for messages in (1, 2, 1):
        metrics.in_hand(messages)
        metrics.heartbeat_failed()
    assert {name: value for name, value in _series(metrics).items() if value} == {
        "model_load_seconds{}": 2.5,
        "model_resident_bytes{}": 6_000_000_000,
        "model_gpu_bytes{}": 5_000_000_000,
        "documents_in_hand{}": 1,
        "heartbeat_failures_total{}": 3,
    }


async def test_a_minute_is_one_push_of_what_is_new(metrics: Metrics) -> None:
    """Each minute's news go out once, sums as sums and durations as values; a quiet minute sends nothing."""
    cloudwatch = CloudWatch()

    def busy() -> None:
        metrics.model_loaded(30.0, 1, 1)
        metrics.ended(ANSWERED)
        metrics.ended(ANSWERED)
        metrics.ended(FAILED)

    await _pushed(metrics, cloudwatch, busy, lambda: None, metrics.heartbeat_failed, lambda: None)
    assert cloudwatch.taken == [
        [
            _value(MetricName.DOCUMENTS_ANSWERED, 2),
            _value(MetricName.PROMPT_TOKENS, 1400),
            _value(MetricName.ANSWER_TOKENS, 180),
            _value(MetricName.DOCUMENTS_FAILED, 1),
            _one(MetricName.MODEL_LOAD_SECONDS, "Seconds", 30.0),
            _datum(MetricName.SECONDS_PER_DOCUMENT, "Seconds", Values=[8.0], Counts=[2]),
            _datum(MetricName.QUEUE_WAIT_SECONDS, "Seconds", Values=[1.0, 3.0], Counts=[1, 2]),
            _datum(MetricName.ANSWER_TOKENS_PER_SECOND, "Count/Second", Values=[22.5], Counts=[2]),
        ],
        [_value(MetricName.HEARTBEAT_FAILURES, 1)],
    ]


def test_every_name_is_sent_by_something_and_as_cloudwatch_takes_it(metrics: Metrics) -> None:
    """An alarm on any of the names has something to hear of, and the SDK's own model accepts the call."""
    metrics.heartbeat_failed()
    metrics.model_loaded(1.0, 1, 1)
    for record in (ANSWERED, FAILED, _record("retried")):
        metrics.ended(record)
    data = metrics.news.data("letters")
    assert {datum["MetricName"] for datum in data} == set(MetricName)
    model = ServiceModel(Loader().load_service_model("cloudwatch", "service-2"))
    call = {"Namespace": METRICS_NAMESPACE, "MetricData": data}
    shape = model.operation_model("PutMetricData").input_shape
    assert shape is not None
    validate_parameters(call, shape)
    assert {datum["Unit"] for datum in data} <= set(model.shape_for("StandardUnit").metadata["enum"])


async def test_a_pod_that_lives_for_less_than_a_minute_is_counted(metrics: Metrics) -> None:
    """What is new when the push is cancelled goes out before it ends."""
    cloudwatch = CloudWatch()
    asleep, never = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await never.wait()

    pushing = asyncio.create_task(push(metrics, cloudwatch.put, sleep))
    await asleep.wait()
    metrics.heartbeat_failed()
    pushing.cancel()
    await asyncio.wait({pushing})
    assert pushing.cancelled()
    assert cloudwatch.taken == [[_value(MetricName.HEARTBEAT_FAILURES, 1)]]


async def test_a_push_that_is_under_way_at_the_end_is_not_sent_again(metrics: Metrics) -> None:
    """A cancelled push waits for the call that is out, and sends only what has happened since."""
    taken: list[list[Datum]] = []
    called, answer = asyncio.Event(), asyncio.Event()

    async def put(_: str, data: list[Datum]) -> None:
        called.set()
        await answer.wait()
        taken.append(data)

    metrics.heartbeat_failed()
    pushing = asyncio.create_task(push(metrics, put, Minutes(lambda: None).sleep))
    await called.wait()
    metrics.ended(_record("retried"))
    pushing.cancel()
    await asyncio.sleep(0)
    answer.set()
    await asyncio.wait({pushing})
    assert taken == [
        [_value(MetricName.HEARTBEAT_FAILURES, 1)],
        [_value(MetricName.DOCUMENTS_RETRIED, 1)],
    ]


async def test_a_push_that_fails_at_the_end_is_in_the_last_one(metrics: Metrics) -> None:
    """The last push begins when the call that is out has ended, and takes over what that could not send."""
    taken: list[list[Datum]] = []
    called, answer = asyncio.Event(), asyncio.Event()

    async def put(_: str, data: list[Datum]) -> None:
        if not called.is_set():
            called.set()
            await answer.wait()
            raise TransientFailure("aws_error", "away")
        taken.append(data)

    metrics.heartbeat_failed()
    pushing = asyncio.create_task(push(metrics, put, Minutes(lambda: None).sleep))
    await called.wait()
    pushing.cancel()
    await asyncio.sleep(0)
    answer.set()
    await asyncio.wait({pushing})
    assert taken == [[_value(MetricName.HEARTBEAT_FAILURES, 1)]]


async def test_the_last_push_does_not_hold_up_the_end(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CloudWatch that does not answer is given up, and that is said."""
    monkeypatch.setattr("runtime.worker.cloudwatch.LAST_PUSH_SECONDS", 0.01)
    metrics.heartbeat_failed()

    async def put(_: str, __: list[Datum]) -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await push(metrics, put, Minutes().sleep)
    assert [entry["event"] for entry in logs] == ["last metrics not pushed"]


async def test_what_could_not_be_pushed_is_pushed_with_the_next(metrics: Metrics) -> None:
    """While CloudWatch is away nothing is lost, and one warning says so, each time that it goes away."""
    cloudwatch = CloudWatch()

    def away() -> None:
        cloudwatch.away = True
        metrics.ended(ANSWERED)

    def back() -> None:
        cloudwatch.away = False
        metrics.ended(FAILED)

    with capture_logs() as logs:
        await _pushed(metrics, cloudwatch, away, away, back, away, lambda: None)
    assert cloudwatch.refused == 5
    assert [(entry["event"], entry["problem"]) for entry in logs] == [
        ("metrics not pushed, and kept", "away"),
        ("metrics not pushed, and kept", "away"),
    ]
    assert len(cloudwatch.taken) == 1
    sent = {str(datum["MetricName"]): datum for datum in cloudwatch.taken[0]}
    assert sent["DocumentsAnswered"]["Value"] == 2
    assert sent["DocumentsFailed"]["Value"] == 1
    assert (sent["QueueWaitSeconds"]["Values"], sent["QueueWaitSeconds"]["Counts"]) == ([1.0, 3.0], [1, 2])


async def test_an_error_that_nobody_expected_ends_the_push(metrics: Metrics) -> None:
    """Only failures are tried again."""

    async def put(_: str, __: list[Datum]) -> None:
        raise ZeroDivisionError

    metrics.heartbeat_failed()
    with pytest.raises(ZeroDivisionError):
        await push(metrics, put, Minutes(lambda: None).sleep)


def test_no_datum_has_more_values_than_cloudwatch_takes(metrics: Metrics) -> None:
    """Values are kept to three digits and split by 150; none is lost."""
    for number in range(100_000, 100_400):
        metrics.ended(_record(ended=STARTED + timedelta(seconds=number / 1000)))
    for number in range(1, 401):
        metrics.ended(_record(ended=STARTED + timedelta(seconds=number)))
    found = [datum for datum in metrics.news.data("letters") if datum["MetricName"] == "SecondsPerDocument"]
    values = [value for datum in found for value in _floats(datum["Values"])]
    counts = [count for datum in found for count in _floats(datum["Counts"])]
    assert [len(_floats(datum["Values"])) for datum in found] == [150, 150, 100]
    assert values == [float(number) for number in range(1, 401)]
    assert counts == [401.0 if value == 100 else 1.0 for value in values]


def _floats(values: object) -> list[float]:
    assert isinstance(values, list)
    return [float(value) for value in values]
