"""AWS clients, made in one place, and the one way in which the worker calls them."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError

from runtime.worker.failures import TransientFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from types_boto3_events import EventBridgeClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

P = ParamSpec("P")
T = TypeVar("T")

PATIENT = Config(
    connect_timeout=5,
    # Longer than the longest long poll, which SQS answers after 20 seconds.
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=64,
    # The SDK's own is put together anew for every call, which is a seventh of what a call costs here.
    user_agent="ollama-eks",
    # The bodies here are small and TLS guards them; a checksum of each is time of every document.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)

BRIEF = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1})
"""For what can wait for the next minute, and must not hold up the end of a worker."""


class AwsFailure(TransientFailure):
    """An AWS call failed for good, after the SDK's own retries.

    Attributes:
        code: the service's error code, such as `NoSuchKey`; empty where no answer came.
    """

    def __init__(self, operation: str, code: str, detail: str) -> None:
        self.code = code
        super().__init__("aws_error", f"{operation}: {detail}")


class MissingCredentialsError(Exception):
    """The SDK finds no credentials, or whoever hands them out gives none; the message says which."""


@dataclass(frozen=True, slots=True)
class Aws:
    """The services that a worker uses. Clients are thread-safe, and dear to make: one of each."""

    s3: S3Client
    sqs: SQSClient
    events: EventBridgeClient


def connect() -> Aws:
    """Clients for the region, credentials and endpoints of the environment, as the SDK finds them."""
    return Aws(s3=client("s3"), sqs=client("sqs"), events=client("events"))


def require_credentials() -> None:
    """Sees to it that the SDK has credentials: a client that is made without never gets any.

    What it finds is what the clients use: it costs a start nothing.

    Raises:
        MissingCredentialsError: there are none now.
    """
    try:
        found = session().get_credentials()
    except CredentialRetrievalError as error:
        raise MissingCredentialsError(str(error)) from error
    if found is None:
        raise MissingCredentialsError("the environment holds none, and names no agent that hands them out")


def client(service: str, config: Config = PATIENT) -> Any:  # noqa: ANN401  400 overloads in boto3's own type
    """One service's client."""
    return session().client(service, config=config)


@functools.cache
def session() -> Any:  # noqa: ANN401  as above
    """What all clients share: the SDK's settings, and the credentials that it has found."""
    return cast("Any", boto3).Session()


async def put_metric_data(namespace: str, data: list[dict[str, object]]) -> None:
    """CloudWatch's call of that name; its client is made when it is first needed, since a start needs none.

    Raises:
        AwsFailure: it failed, perhaps with effect: it is not tried again here.
    """

    def put_metric_data() -> None:
        _cloudwatch().put_metric_data(Namespace=namespace, MetricData=data)

    await call(put_metric_data)


@functools.cache
def _cloudwatch() -> Any:  # noqa: ANN401  as above
    return client("cloudwatch", BRIEF)


async def call(operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a client's method in a thread, so that the loop goes on.

    Raises:
        AwsFailure: when the service refuses, or cannot be reached.
    """
    name = getattr(operation, "__name__", "call")
    try:
        return await asyncio.to_thread(operation, *args, **kwargs)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise AwsFailure(name, code, str(error)) from error
    except BotoCoreError as error:
        raise AwsFailure(name, "", str(error)) from error
