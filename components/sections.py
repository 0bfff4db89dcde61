"""The parts of a stack's config but for its models, each a frozen value that checks itself."""

from __future__ import annotations

import ipaddress
import re

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
)
from pydantic.alias_generators import to_camel

from components.subnets import MAX_ZONES, SMALLEST_PREFIX


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


class Scaling(Setting):
    """How pods follow the queue."""

    poll_seconds: int = Field(default=10, ge=1, le=300)
    cooldown_seconds: int = Field(default=600, ge=0, le=86_400)
