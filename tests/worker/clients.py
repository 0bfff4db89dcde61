"""Clients of AWS for tests that call it themselves, and what their calls come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.computed import REGION

if TYPE_CHECKING:
    from collections.abc import Callable

Client = Any
"""A client of boto3, one of 400 types."""


def client(service: str, endpoint: str, attempts: int = 1) -> Client:
    """A client that tries so often, and waits half a second for an answer."""
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    return cast("Any", boto3).client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106  moto checks none
        config=Config(read_timeout=0.5, retries=retries),
    )


def code_of(call: Callable[..., object], **given: object) -> str:
    """The error code that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**given)
    return caught.value.response.get("Error", {}).get("Code", "")


def receive(sqs: Client, queue: str, visibility: int = 30) -> dict[str, Any]:
    """Takes the one message that there is."""
    (message,) = sqs.receive_message(
        QueueUrl=queue, VisibilityTimeout=visibility, MessageSystemAttributeNames=["All"]
    )["Messages"]
    return message
