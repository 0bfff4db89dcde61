"""What CloudWatch knows a model's work by: the worker sends these names, alarms ask for them."""

from __future__ import annotations

from enum import StrEnum

METRICS_NAMESPACE = "OllamaEks"

MODEL_DIMENSION = "Model"
"""Its value is the task's name. There is no dimension per pod: each would be a metric to pay for."""


class MetricName(StrEnum):
    """All that is sent; what has no news in a minute is absent for it, so an alarm treats that as fine."""

    DOCUMENTS_ANSWERED = "DocumentsAnswered"
    DOCUMENTS_FAILED = "DocumentsFailed"
    DOCUMENTS_RETRIED = "DocumentsRetried"
    HEARTBEAT_FAILURES = "HeartbeatFailures"
    PROMPT_TOKENS = "PromptTokens"
    ANSWER_TOKENS = "AnswerTokens"
    ANSWER_TOKENS_PER_SECOND = "AnswerTokensPerSecond"
    SECONDS_PER_DOCUMENT = "SecondsPerDocument"
    QUEUE_WAIT_SECONDS = "QueueWaitSeconds"
    MODEL_LOAD_SECONDS = "ModelLoadSeconds"
