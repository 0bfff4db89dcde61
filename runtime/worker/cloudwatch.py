"""What CloudWatch is told of a worker: every minute that has news, and once more at its end."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING

import structlog

from runtime.metric_names import METRICS_NAMESPACE, MODEL_DIMENSION, MetricName
from runtime.worker.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.worker.metrics import Metrics

    Datum = dict[str, object]
    Put = Callable[[str, list[Datum]], Awaitable[object]]

log = structlog.get_logger()

PUSH_SECONDS = 60
LAST_PUSH_SECONDS = 5
"""For the last push of a pod that ends: the rest of its grace time is for documents."""

MAX_VALUES = 150
"""Distinct values in one datum (CloudWatch API reference, MetricDatum)."""

UNITS = {
    MetricName.ANSWER_TOKENS_PER_SECOND: "Count/Second",
    MetricName.SECONDS_PER_DOCUMENT: "Seconds",
    MetricName.QUEUE_WAIT_SECONDS: "Seconds",
    MetricName.MODEL_LOAD_SECONDS: "Seconds",
}


class News:
    """What CloudWatch has not been told yet. It cannot grow for ever, however long CloudWatch is away."""

    def __init__(self) -> None:
        self._sums = collections.Counter[MetricName]()
        self._values = collections.defaultdict[MetricName, collections.Counter[float]](collections.Counter)

    def count(self, name: MetricName, amount: int = 1) -> None:
        """Adds to a sum."""
        self._sums[name] += amount

    def observe(self, name: MetricName, value: float) -> None:
        """Adds one of many values, to three digits: so few are distinct, and percentiles can be asked for."""
        self._values[name][float(f"{value:.3g}")] += 1

    def add(self, other: News) -> None:
        """Adds all that another holds."""
        self._sums.update(other._sums)
        for name, values in other._values.items():
            self._values[name].update(values)

    def data(self, model: str) -> list[Datum]:
        """All of it as CloudWatch takes it; nothing when there is none."""
        found: list[Datum] = [_datum(name, model, Value=total) for name, total in self._sums.items() if total]
        for name, counted in self._values.items():
            values = sorted(counted)
            for start in range(0, len(values), MAX_VALUES):
                part = values[start : start + MAX_VALUES]
                found.append(_datum(name, model, Values=part, Counts=[counted[value] for value in part]))
        return found


async def push(metrics: Metrics, put: Put, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Tells CloudWatch every minute what is new, and once more when it is cancelled: short lives count, too.

    News that could not be sent are kept for the next minute, and counted there.

    Args:
        metrics: where the news come from.
        put: `PutMetricData(Namespace, MetricData)`; it raises a `Failure` when it fails.
        sleep: waits for so many seconds.
    """
    failing = False
    sending: asyncio.Task[None] | None = None

    async def send() -> None:
        nonlocal failing
        news, metrics.news = metrics.news, News()
        data = news.data(metrics.model)
        if not data:
            return
        try:
            await put(METRICS_NAMESPACE, data)
        except Failure as failure:
            metrics.news.add(news)
            if not failing:
                log.warning("metrics not pushed, and kept", problem=failure.detail)
            failing = True
        else:
            failing = False

    try:
        while True:
            await sleep(PUSH_SECONDS)
            sending = asyncio.create_task(send())
            # A push that is cancelled half-way may have counted or not: it goes on, and is waited for below.
            await asyncio.shield(sending)
    finally:
        try:
            async with asyncio.timeout(LAST_PUSH_SECONDS):
                if sending is not None:
                    await sending
                await send()
        except TimeoutError:
            log.warning("last metrics not pushed", seconds=LAST_PUSH_SECONDS)


def _datum(name: MetricName, model: str, **values: object) -> Datum:
    dimensions = [{"Name": MODEL_DIMENSION, "Value": model}]
    return {
        "MetricName": name.value,
        "Dimensions": dimensions,
        "Unit": UNITS.get(name, "Count"),
        **values,
    }
