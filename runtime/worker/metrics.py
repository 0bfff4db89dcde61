"""What a worker counts, for whoever scrapes it; what of it is news goes to CloudWatch as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from runtime.metric_names import MetricName
from runtime.worker.cloudwatch import News

if TYPE_CHECKING:
    from runtime.worker.records import Outcome, Record

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
PREFIX = "ollama_eks"

TOKENS_PER_SECOND = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

COUNTED: dict[Outcome, MetricName] = {
    "answered": MetricName.DOCUMENTS_ANSWERED,
    "failed": MetricName.DOCUMENTS_FAILED,
    "retried": MetricName.DOCUMENTS_RETRIED,
}


# A time of birth beside each series would double their number, and nothing here asks for it.
prometheus_client.disable_created_metrics()


class Metrics:
    """Counts one task's work; every series has the task's name as `model`.

    Attributes:
        model: the task's name.
        news: what was counted since CloudWatch was told.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.news = News()
        self._registry = CollectorRegistry()
        self._documents = self._counter(
            "documents_total", "Attempts at documents, by how they ended.", "outcome", "class", "reason"
        )
        self._document = self._histogram("document_seconds", "From a receive to its end.", SECONDS, "outcome")
        self._phase = self._histogram("phase_seconds", "The parts of an attempt.", SECONDS, "phase")
        self._wait = self._histogram("queue_wait_seconds", "Until a message's first receive.", SECONDS)
        self._prompt = self._counter("prompt_tokens_total", "Tokens read, as the server counts.")
        self._answer = self._counter("answer_tokens_total", "Tokens written, as the server counts.")
        self._speed = self._histogram(
            "answer_tokens_per_second", "Of a document while it is answered.", TOKENS_PER_SECOND
        )
        self._heartbeats = self._counter("heartbeat_failures_total", "Messages not hidden anew in time.")
        self._in_hand = self._gauge("documents_in_hand", "Messages held now.")
        self._load = self._gauge("model_load_seconds", "The last load of the model.")
        self._resident = self._gauge("model_resident_bytes", "What the loaded model takes up in all.")
        self._gpu = self._gauge("model_gpu_bytes", "What of it lies in GPU memory.")
        # Born at 0, so that the first one is an increase. The model's have no value until it is loaded.
        for zero in (self._prompt, self._answer, self._heartbeats, self._in_hand):
            zero.labels(model)

    def ended(self, record: Record) -> None:
        """An attempt of this worker ended as its record says."""
        model, seconds, tokens = self.model, record.seconds, record.tokens
        kind, reason = (record.failure.kind, record.failure.reason) if record.failure else ("", "")
        self._documents.labels(model, record.outcome, kind, reason).inc()
        if record.outcome in COUNTED:
            self.news.count(COUNTED[record.outcome])
        if record.ended is not None:
            whole = (record.ended - record.started).total_seconds()
            self._document.labels(model, record.outcome).observe(whole)
            if record.outcome == "answered":
                self.news.observe(MetricName.SECONDS_PER_DOCUMENT, whole)
        for phase in seconds.keys() - {"waited"}:
            self._phase.labels(model, phase).observe(seconds[phase])
        # A message that came again has waited for its attempts, too: that says nothing of the queue.
        if "waited" in seconds and record.receives == 1:
            self._wait.labels(model).observe(seconds["waited"])
            self.news.observe(MetricName.QUEUE_WAIT_SECONDS, seconds["waited"])
        if tokens is None:
            return
        self._prompt.labels(model).inc(tokens.prompt)
        self._answer.labels(model).inc(tokens.answer)
        self.news.count(MetricName.PROMPT_TOKENS, tokens.prompt)
        self.news.count(MetricName.ANSWER_TOKENS, tokens.answer)
        if tokens.answer and seconds.get("answer"):
            speed = tokens.answer / seconds["answer"]
            self._speed.labels(model).observe(speed)
            self.news.observe(MetricName.ANSWER_TOKENS_PER_SECOND, speed)

    def heartbeat_failed(self) -> None:
        """A message could not be hidden anew."""
        self._heartbeats.labels(self.model).inc()
        self.news.count(MetricName.HEARTBEAT_FAILURES)

    def in_hand(self, messages: int) -> None:
        """So many messages are held now."""
        self._in_hand.labels(self.model).set(messages)

    def model_loaded(self, seconds: float, resident_bytes: int, gpu_bytes: int) -> None:
        """The model was loaded in so many seconds, and lies where the server says."""
        self._load.labels(self.model).set(seconds)
        self._resident.labels(self.model).set(resident_bytes)
        self._gpu.labels(self.model).set(gpu_bytes)
        self.news.observe(MetricName.MODEL_LOAD_SECONDS, seconds)

    def exposition(self) -> bytes:
        """All series as text, of `CONTENT_TYPE`."""
        return prometheus_client.generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, ("model", *labels), registry=self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, ("model",), registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", text, ("model", *labels), buckets=buckets, registry=self._registry
        )
