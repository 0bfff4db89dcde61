"""The parts of a stack's config but for its models, each a frozen value that checks itself."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from components.cron import times
from components.problems import did_you_mean
from components.subnets import MAX_ZONES, SMALLEST_PREFIX

MAX_PERIOD_SECONDS = 1800
"""Of a scaling policy, and half of what a stabilisation window may have (Kubernetes 1.35,
pkg/apis/autoscaling/validation)."""

AWS_ID = "(?:[0-9a-f]{8}|[0-9a-f]{17})"
"""What follows the kind in an id of EC2's: since 2018 the longer one."""

Egress = Literal["nat", "nat-per-zone", "endpoints"]
"""How nodes reach what is outside the VPC: by one NAT gateway, by one a zone, or AWS alone and privately."""


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


PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]+")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""How long CloudWatch Logs can be told to keep what it gets (API reference, PutRetentionPolicy)."""


def _principal(arn: str) -> str:
    if not PRINCIPAL.fullmatch(arn):
        raise ValueError(
            "must be the ARN of an IAM role or user, such as arn:aws:iam::123456789012:role/Operators; "
            "a session's ARN (sts, assumed-role) is not one"
        )
    return arn


def _retention(days: int) -> int:
    if days not in RETENTION_DAYS:
        raise ValueError(f"must be one of {', '.join(map(str, RETENTION_DAYS))}, which CloudWatch Logs knows")
    return days


def _email(address: str) -> str:
    if not EMAIL.fullmatch(address):
        raise ValueError("must be one e-mail address, such as operators@example.com")
    return address


def _once_each(arns: tuple[str, ...]) -> tuple[str, ...]:
    again = sorted({arn for arn in arns if arns.count(arn) > 1})
    if again:
        raise ValueError(f"names {', '.join(again)} more than once")
    return arns


Principals = Annotated[tuple[Annotated[str, AfterValidator(_principal)], ...], AfterValidator(_once_each)]
RetentionDays = Annotated[int, AfterValidator(_retention)]


class Alerts(Setting):
    """Who is told when something is wrong, and what a month may cost.

    Attributes:
        email: gets what alarms and the budget say, once whoever reads it has confirmed the subscription.
        monthly_budget: US dollars; none where nobody asks for a budget.
    """

    email: Annotated[str, AfterValidator(_email)]
    monthly_budget: int | None = Field(default=None, ge=1)


class ExistingVpc(Setting):
    """A VPC of somebody else's: this stack puts its nodes into it, and changes nothing about it."""

    vpc_id: str
    subnet_ids: tuple[str, ...]

    @field_validator("vpc_id")
    @classmethod
    def _vpc(cls, vpc_id: str) -> str:
        if not re.fullmatch(f"vpc-{AWS_ID}", vpc_id):
            raise ValueError("must be the id of a VPC, such as vpc-0123456789abcdef0")
        return vpc_id

    @field_validator("subnet_ids")
    @classmethod
    def _subnets(cls, subnet_ids: tuple[str, ...]) -> tuple[str, ...]:
        ids = {each for each in subnet_ids if re.fullmatch(f"subnet-{AWS_ID}", each)}
        if len(ids) < len(subnet_ids) or len(ids) < 2:  # noqa: PLR2004  EKS wants two
            raise ValueError(
                "must be the ids of two or more subnets, one a zone, such as subnet-0123456789abcdef0"
            )
        return subnet_ids


class Network(Setting):
    """The VPC: one that is made, with its range, its zones and its way out, or one that exists."""

    cidr: str = "10.64.0.0/16"
    zones: tuple[str, ...] = ("a", "b")
    egress: Egress = "nat"
    existing: ExistingVpc | None = None

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

    @property
    def gateway_zones(self) -> tuple[str, ...]:
        """The zones that have a NAT gateway."""
        return {"nat": self.zones[:1], "nat-per-zone": self.zones, "endpoints": ()}[self.egress]

    @model_validator(mode="after")
    def _made_or_existing(self) -> Self:
        if self.existing is not None and self.model_fields_set != {"existing"}:
            raise ValueError("`existing` stands alone; leave out cidr, zones and egress, which are its own")
        return self


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
