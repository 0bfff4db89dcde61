"""Which connections network policies allow, as Kubernetes defines it: data in, data out, and no network.

What no policy can deny is not asked here: a pod reaches itself, and its own node reaches it. Nor is what a
network plugin makes of the policies; an engine that looks at Service addresses is asked with those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Policy = dict[str, Any]
"""A NetworkPolicy as the API takes it: `metadata.namespace` and `spec`."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One end of a connection that policies may select.

    Attributes:
        namespace: its name, which is the value of the one label that every namespace has.
        labels: of the pod.
        address: of the pod, which address blocks match like any other.
    """

    namespace: str
    labels: Mapping[str, str] = field(hash=False)
    address: str


@dataclass(frozen=True, slots=True)
class Outside:
    """The other end: an address that is no pod's."""

    address: str


End = Pod | Outside


def allowed(policies: Iterable[Policy], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether the source may open a connection: its own policies have to allow it, and the target's too."""
    known = list(policies)
    return _passes(known, source, target, (port, protocol), "Egress") and _passes(
        known, target, source, (port, protocol), "Ingress"
    )


def _passes(policies: list[Policy], own: End, other: End, port: tuple[int, str], way: str) -> bool:
    """Whether one end's policies let a connection through; all do where none of them isolates that end."""
    if isinstance(own, Outside):
        return True
    isolating = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        if selects(policy["spec"]["podSelector"], own.labels)
        if way in _types(policy["spec"])
    ]
    rules = [rule for spec in isolating for rule in spec.get(way.lower(), ())]
    peers = "to" if way == "Egress" else "from"
    return not isolating or any(
        _has_port(rule.get("ports"), *port) and _has_peer(rule.get(peers), own.namespace, other)
        for rule in rules
    )


def _types(spec: dict[str, Any]) -> list[str]:
    """What a policy is about; one that does not say so is about ingress, and about egress if it has rules."""
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def selects(selector: dict[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches: all that it asks for holds; an empty one matches everything."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def _holds(expression: dict[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            raise ValueError(f"{operator!r} is no operator of a label selector")


def _has_port(ports: list[dict[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        entry.get("protocol", "TCP") == protocol
        and ("port" not in entry or entry["port"] <= port <= entry.get("endPort", entry["port"]))
        for entry in ports
    )


def _has_peer(peers: list[dict[str, Any]] | None, namespace: str, other: End) -> bool:
    return not peers or any(_is(peer, namespace, other) for peer in peers)


def _is(peer: dict[str, Any], namespace: str, other: End) -> bool:
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], IPv4Address(other.address)
        return address in IPv4Network(block["cidr"]) and not any(
            address in IPv4Network(hole) for hole in block.get("except", ())
        )
    if isinstance(other, Outside):
        return False
    of_namespace = (
        selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
        if "namespaceSelector" in peer
        else other.namespace == namespace
    )
    return of_namespace and selects(peer.get("podSelector", {}), other.labels)
