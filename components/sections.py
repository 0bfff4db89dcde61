"""The parts of a stack's config but for its models, each a frozen value that checks itself."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel

from components.cron import times
from components.problems import did_you_mean
from components.subnets import MAX_ZONES, SMALLEST_PREFIX

MAX_PERIOD_SECONDS = 1800
"""Of a scaling policy, and half of what a stabilisation window may have (Kubernetes 1.35,
pkg/apis/autoscaling/validation)."""


class Setting(BaseModel):
    """A part of the config: camelCase in the stack file, frozen, and no key but its own."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid")


def _network(cidr: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(cidr)
    except ValueError:
        raise ValueError(f"{cidr} is no IPv4 network; write it such as 203.0.113.0/24") from None


class Api(Setting):
    """Who reaches the Kubernetes API from outside the VPC: nobody (`api: private`), or some networks."""

    public_cidrs: tuple[str, ...] = ()

    @field_validator("public_cidrs")
    @classmethod
    def _narrow(cls, cidrs: tuple[str, ...]) -> tuple[str, ...]:
        merged = ipaddress.collapse_addresses(_network(cidr) for cidr in cidrs)
        if any(network.prefixlen == 0 for network in merged):
            raise ValueError("is the whole internet; name your own networks, or use `api: private`")
        return cidrs


class Network(Setting):
    """The VPC that is made: its range and its zones."""

    cidr: str = "10.64.0.0/16"
    zones: tuple[str, ...] = ("a", "b")

    @field_validator("cidr")
    @classmethod
    def _range(cls, cidr: str) -> str:
        network = _network(cidr)
        if not network.is_private or not 16 <= network.prefixlen <= SMALLEST_PREFIX:  # noqa: PLR2004
            raise ValueError(
                f"must be a private range between /16 and /{SMALLEST_PREFIX}, such as 10.64.0.0/16"
            )
        return cidr

    @field_validator("zones")
    @classmethod
    def _letters(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        letters = {zone for zone in zones if re.fullmatch("[a-z]", zone)}
        if len(letters) < len(zones) or not 2 <= len(zones) <= MAX_ZONES:  # noqa: PLR2004  EKS wants two
            raise ValueError(f"must be 2 to {MAX_ZONES} different zone letters of the region, such as [a, b]")
        return zones


PollSeconds = Annotated[int, Field(ge=1, le=300)]
CooldownSeconds = Annotated[int, Field(ge=0, le=86_400)]
ScaleDownPeriodSeconds = Annotated[int, Field(ge=1, le=MAX_PERIOD_SECONDS)]


class Scaling(Setting):
    """How pods follow the queue."""

    poll_seconds: PollSeconds = 10
    cooldown_seconds: CooldownSeconds = 600
    scale_down_period_seconds: ScaleDownPeriodSeconds = 60


class ModelScaling(Setting):
    """What of it one model has another way."""

    poll_seconds: PollSeconds | None = None
    cooldown_seconds: CooldownSeconds | None = None
    scale_down_period_seconds: ScaleDownPeriodSeconds | None = None


class Window(Setting):
    """A time in which a model has at least so many pods, whatever waits for it: KEDA's cron trigger."""

    start: str
    end: str
    timezone: str
    instances: int = Field(ge=1, le=1000)

    @field_validator("start", "end")
    @classmethod
    def _cron(cls, expression: str) -> str:
        times(expression)
        return expression

    @field_validator("end")
    @classmethod
    def _another_time(cls, end: str, info: ValidationInfo) -> str:
        if "start" in info.data and times(end) == times(info.data["start"]):
            raise ValueError("is the time at which the window starts; it has to end at another one")
        return end

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zones = _zones()
        # A machine without the database cannot tell; KEDA brings its own.
        if zones and name not in zones:
            raise ValueError(
                f"is no time zone of the IANA database, such as Europe/Berlin{did_you_mean(name, zones)}"
            )
        return name


@cache
def _zones() -> tuple[str, ...]:
    """Every time zone by its name; it takes a walk through a directory tree."""
    return tuple(sorted(available_timezones()))
