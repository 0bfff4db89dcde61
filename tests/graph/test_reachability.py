"""The evaluator of network policies: each claim is one of Kubernetes' own rules for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graph.reachability import Outside, Pod, allowed, selects

WEB = Pod("shop", {"app": "web", "tier": "front"}, "10.0.0.1")
DATA = Pod("shop", {"app": "data"}, "10.0.0.2")
OTHER = Pod("else", {"app": "web"}, "10.0.1.1")
INTERNET = Outside("198.51.100.7")
ISOLATED = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def _policy(spec: dict[str, Any], namespace: str = "shop") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def _to(*peers: dict[str, Any], **rule: Any) -> dict[str, Any]:  # noqa: ANN401  whatever a rule holds
    return _policy({"policyTypes": ["Egress"], "egress": [{"to": list(peers), **rule}]})


def _from(*peers: dict[str, Any]) -> dict[str, Any]:
    return _policy({"ingress": [{"from": list(peers)}]})


def test_what_no_policy_selects_is_open() -> None:
    """A policy isolates pods of its own namespace that its selector matches, and nobody else."""
    data_only = _policy({**ISOLATED, "podSelector": {"matchLabels": {"app": "data"}}})
    assert allowed([], WEB, INTERNET, 80)
    assert allowed([_policy(ISOLATED, "else"), data_only], WEB, INTERNET, 80)
    assert not allowed([data_only], DATA, INTERNET, 80)


def test_both_ends_have_to_allow_it() -> None:
    """What the source may send, the target may still refuse."""
    both = [_policy(ISOLATED), _to({"podSelector": {}})]
    assert not allowed(both, WEB, DATA, 80)
    assert allowed([*both, _from({"podSelector": {}})], WEB, DATA, 80)
    assert not allowed([_policy(ISOLATED), _from({"podSelector": {}})], WEB, DATA, 80)


def test_a_way_is_isolated_only_by_a_policy_about_it() -> None:
    """Egress is open under one of ingress; without types it is of ingress, and of egress if it has a rule."""
    assert allowed([_policy({"policyTypes": ["Ingress"]})], WEB, INTERNET, 80)
    assert allowed([_policy({})], WEB, INTERNET, 80)
    assert not allowed([_policy({})], INTERNET, WEB, 80)
    assert not allowed([_policy({"egress": [{"ports": [{"port": 443}]}]})], WEB, INTERNET, 80)


def test_policies_add_up() -> None:
    """Each rule allows more, and none takes away what another one allows."""
    narrow = _to({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["198.51.100.0/24"]}})
    exact = _to({"ipBlock": {"cidr": "198.51.100.7/32"}})
    assert not allowed([narrow], WEB, INTERNET, 80)
    assert allowed([narrow], WEB, Outside("203.0.113.1"), 80)
    assert allowed([narrow, exact], WEB, INTERNET, 80)
    assert allowed([exact, _policy(ISOLATED)], WEB, INTERNET, 80)


def test_a_pod_selector_is_of_the_policys_own_namespace() -> None:
    """With a namespace selector beside it, of those namespaces; that one alone means all of their pods."""
    web = {"podSelector": {"matchLabels": {"app": "web"}}}
    elsewhere = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "else"}}}
    assert not allowed([_to(web)], DATA, OTHER, 80)
    assert allowed([_to({**web, **elsewhere})], DATA, OTHER, 80)
    assert not allowed([_to({**web, **elsewhere})], DATA, WEB, 80)
    assert allowed([_to(elsewhere)], DATA, OTHER, 80)
    assert not allowed([_to({"podSelector": {"matchLabels": {"app": "api"}}, **elsewhere})], DATA, OTHER, 80)
    # Two peers are alternatives, one peer of two selectors is both at once.
    assert allowed([_to(web, elsewhere)], DATA, WEB, 80)
    # No selector finds what is no pod.
    assert not allowed([_to({"podSelector": {}})], WEB, INTERNET, 80)


def test_an_address_block_finds_pods_too() -> None:
    """A pod's address is an address."""
    assert allowed([_to({"ipBlock": {"cidr": "10.0.0.0/16"}})], WEB, OTHER, 80)
    assert not allowed([_to({"ipBlock": {"cidr": "10.0.0.0/24"}})], WEB, OTHER, 80)


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "expected"),
    [
        pytest.param(None, 80, "UDP", True, id="no ports are all"),
        pytest.param([], 80, "TCP", True, id="an empty list too"),
        pytest.param([{"port": 80}], 80, "TCP", True, id="TCP is meant"),
        pytest.param([{"port": 80}], 80, "UDP", False, id="TCP alone"),
        pytest.param([{"protocol": "UDP"}], 9, "UDP", True, id="every port of a protocol"),
        pytest.param([{"port": 80}, {"port": 443}], 443, "TCP", True, id="any of them"),
        pytest.param([{"port": 80, "endPort": 90}], 90, "TCP", True, id="the end of a range"),
        pytest.param([{"port": 80, "endPort": 90}], 91, "TCP", False, id="beyond a range"),
    ],
)
def test_ports(ports: list[dict[str, Any]] | None, port: int, protocol: str, *, expected: bool) -> None:
    """A rule is for its ports, by its peers."""
    rule = {} if ports is None else {"ports": ports}
    block = {"ipBlock": {"cidr": "0.0.0.0/0"}}
    assert allowed([_to(block, **rule)], WEB, INTERNET, port, protocol) is expected
    assert allowed([_to(**rule)], WEB, INTERNET, port, protocol) is expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "api"]}, True),
        ({"key": "app", "operator": "In", "values": ["api"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "tier", "operator": "Exists"}, True),
        ({"key": "tier", "operator": "DoesNotExist"}, False),
    ],
)
def test_selectors(expression: dict[str, Any], *, expected: bool) -> None:
    """Expressions and labels have to match all; an empty selector matches everything."""
    assert selects({"matchExpressions": [expression]}, WEB.labels) is expected
    assert selects({"matchLabels": {"app": "web"}, "matchExpressions": [expression]}, WEB.labels) is expected
    assert not selects({"matchLabels": {"app": "api"}, "matchExpressions": [expression]}, WEB.labels)
    assert selects({}, WEB.labels)


def test_an_operator_that_is_none_is_an_error() -> None:
    """A slip in a policy is no silent mismatch."""
    with pytest.raises(ValueError, match="'in' is no operator"):
        selects({"matchExpressions": [{"key": "app", "operator": "in", "values": ["web"]}]}, WEB.labels)
