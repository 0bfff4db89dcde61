"""Logs of the pods: one JSON object a line on stdout."""

from __future__ import annotations

import structlog


def configure() -> None:
    """Makes structlog write JSON lines with `event`, `level` and `timestamp` (ISO 8601, UTC) to stdout."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
