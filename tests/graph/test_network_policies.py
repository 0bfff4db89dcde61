"""Who reaches whom: the graph's network policies, and the connections that they allow.

That the VPC CNI keeps to them is not shown here; `docs/network.md` says what it cannot do.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT, evaluate
from tests.graph.reachability import End, Outside, Pod, Policy, allowed, selects

if TYPE_CHECKING:
    from cli.graph import Graph, Resource

POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
SOURCES: dict[str, dict[str, str]] = {
    "library": {"from": "llama3.2:3b"},
    "plain": {"from": "http://registry.internal:5000/team/model"},
    "tls": {"from": "https://registry.internal:8443/team/model:1"},
    "base": {"modelfile": "FROM http://registry.internal/team/model\nPARAMETER temperature 0\n"},
    "weights": {"modelfile": "FROM s3://bucket/model.gguf\n"},
    "usual": {"from": "registry.internal/team/model:1"},
}

OTHERS: dict[str, End] = {
    "internet": Outside("198.51.100.7"),
    "API server": Outside("172.20.0.1"),
    "IMDS": Outside("169.254.169.254"),
    "identity agent": Outside("169.254.170.23"),
    "DNS": Pod("kube-system", {"k8s-app": "kube-dns"}, "10.64.0.10"),
    "not DNS": Pod("default", {"k8s-app": "kube-dns"}, "10.64.0.11"),
    "neighbour": Pod("kube-system", {"app": "neighbour"}, "10.64.0.12"),
    # With a serving pod's labels, in another namespace.
    "elsewhere": Pod("default", {"app": "service", "model": "library"}, "10.64.0.13"),
    # A user's own, in the serving namespace.
    "own pod": Pod("ollama", {"app": "someone-elses"}, "10.64.0.14"),
}
"""Whoever is no workload of the graph."""


def _tcp(port: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port}]


def _to_anywhere(port: int) -> dict[str, Any]:
    everywhere = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    return {"to": [{"ipBlock": everywhere}], "ports": _tcp(port)}


TO_IDENTITY = {"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}], "ports": _tcp(80)}
TO_API_SERVER = {
    "to": [{"ipBlock": {"cidr": "10.100.0.1/32"}}, {"ipBlock": {"cidr": "172.20.0.1/32"}}],
    "ports": _tcp(443),
}
TO_DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A stack with a model of each kind of source."""
    models = [{"name": name, **source} for name, source in SOURCES.items()]
    return evaluate(ROOT / "Pulumi.dev.yaml", {"models": models})


@pytest.fixture(scope="module")
def policies(graph: Graph) -> list[Policy]:
    """All of its policies."""
    return [policy.inputs for policy in graph.of_type(POLICY)]


@pytest.fixture(scope="module")
def ends(graph: Graph) -> dict[str, End]:
    """Whoever the table names: the graph's pods by the labels that their templates have, and others."""
    workloads = [
        *graph.of_type("kubernetes:apps/v1:Deployment"),
        *graph.of_type("kubernetes:batch/v1:Job"),
        *graph.of_type("kubernetes:batch/v1:CronJob"),
    ]
    pods = {
        f"{each.type.rpartition(':')[2]} {each.name}": _pod(each, f"10.64.1.{number}")
        for number, each in enumerate(workloads, start=1)
    }
    return {**pods, **OTHERS}


def _pod(workload: Resource, address: str) -> Pod:
    return Pod(workload.inputs["metadata"]["namespace"], _template(workload)["metadata"]["labels"], address)


def _template(workload: Resource) -> dict[str, Any]:
    spec = workload.inputs["spec"]
    return spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]


SERVER, OTHER_SERVER, COLLECTOR = "Deployment library", "Deployment plain", "CronJob collector"
JOBS = {name: f"Job {name}-model" for name in SOURCES}
ONLINE = (SERVER, OTHER_SERVER, "own pod", *JOBS.values())
HELD = (*ONLINE, COLLECTOR)
"""The ends that are under the graph's policies."""

OPEN = ("internet", "API server", "DNS", "not DNS", "neighbour", "elsewhere")
"""Whatever has an address that is not the node's own, and no policy that keeps others out."""

TABLE: list[tuple[tuple[str, ...], tuple[str, ...], set[str]]] = [
    (HELD, ("DNS",), {"53/TCP", "53/UDP"}),
    (ONLINE, ("identity agent",), {"80/TCP"}),
    (ONLINE, OPEN, {"443/TCP"}),
    ((JOBS["plain"],), OPEN, {"5000/TCP"}),
    ((JOBS["tls"],), OPEN, {"8443/TCP"}),
    ((JOBS["base"],), OPEN, {"80/TCP"}),
    ((COLLECTOR,), ("API server",), {"443/TCP"}),
]
"""From whom, to whom, by which ports. What is not in it is closed: the metadata service to everybody, each
registry's port to the servers and to the other Jobs, and every pod of the system to every other one."""

PROBED = {
    f"{port}/{protocol}"
    for port in (22, 25, 53, 80, 443, 2049, 5000, 8080, 8443, 11434)
    for protocol in ("TCP", "UDP")
}
"""What an intruder would look for, and what the system itself listens on."""


def _ports(policies: list[Policy], source: End, target: End) -> set[str]:
    """Those of `PROBED` by which the source may reach the target."""
    return {
        probed
        for probed in PROBED
        for port, protocol in (probed.split("/"),)
        if allowed(policies, source, target, int(port), protocol)
    }


@pytest.mark.parametrize("source", HELD)
def test_the_reachability_table(policies: list[Policy], ends: dict[str, End], source: str) -> None:
    """From each end under the policies to every other end, exactly the ports of the table are open."""
    expected = {
        target: set[str]().union(*(ports for who, whom, ports in TABLE if source in who and target in whom))
        for target in ends
        if target != source
    }
    assert {target: _ports(policies, ends[source], ends[target]) for target in expected} == expected


@pytest.mark.parametrize("source", ["internet", "neighbour", "elsewhere"])
def test_no_stranger_gets_in(policies: list[Policy], ends: dict[str, End], source: str) -> None:
    """Whoever is under no policy reaches no pod of the system: a worker's health port is for its node."""
    reached = {target: _ports(policies, ends[source], ends[target]) for target in HELD}
    assert reached == {target: set[str]() for target in HELD}


def _policy(namespace: str, pods: dict[str, str], *rules: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Namespace and spec of a policy that opens something."""
    selector = {"matchLabels": pods} if pods else {}
    return namespace, {"podSelector": selector, "policyTypes": ["Egress"], "egress": list(rules)}


def test_the_policies_are_exactly_these(graph: Graph) -> None:
    """Default deny, DNS and AWS in each namespace; a registry's port or the API server for who needs it."""
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    jobs, job = "ollama-models", {"app": "model"}
    assert {
        policy.name: (policy.inputs["metadata"]["namespace"], policy.inputs["spec"])
        for policy in graph.of_type(POLICY)
    } == {
        "namespaces-serving-default-deny": ("ollama", closed),
        "namespaces-serving-dns": _policy("ollama", {}, TO_DNS),
        "namespaces-serving-aws": _policy("ollama", {}, TO_IDENTITY, _to_anywhere(443)),
        "namespaces-jobs-default-deny": (jobs, closed),
        "namespaces-jobs-dns": _policy(jobs, {}, TO_DNS),
        "namespaces-jobs-aws": _policy(jobs, job, TO_IDENTITY, _to_anywhere(443)),
        "plain-model": _policy(jobs, {**job, "model": "plain"}, _to_anywhere(5000)),
        "tls-model": _policy(jobs, {**job, "model": "tls"}, _to_anywhere(8443)),
        "base-model": _policy(jobs, {**job, "model": "base"}, _to_anywhere(80)),
        "collector": _policy(jobs, {"app": "collector"}, TO_API_SERVER),
    }


def test_a_rule_says_whom_and_by_which_port(policies: list[Policy]) -> None:
    """No rule is for all peers or all ports, none is about IPv6, and none reaches the metadata service."""
    for rule in (rule for policy in policies for rule in policy["spec"].get("egress", ())):
        assert rule["ports"] != []
        assert all({"protocol", "port"} == entry.keys() for entry in rule["ports"])
        assert rule["to"] != []
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            network = IPv4Network(block["cidr"])
            holes = [IPv4Network(hole) for hole in block.get("except", ())]
            imds = IPv4Network("169.254.169.254/32")
            assert not imds.subnet_of(network) or any(imds.subnet_of(hole) for hole in holes)
    assert [policy for policy in policies if "ingress" in policy["spec"]] == []


def test_every_pod_is_under_its_namespaces_policies_from_its_start(graph: Graph) -> None:
    """Workloads come after the policies that select them; claims, which outlive pods, go before."""
    policies = graph.of_type(POLICY)
    waiting = [
        *graph.of_type("kubernetes:apps/v1:Deployment"),
        *graph.of_type("kubernetes:batch/v1:Job"),
        *graph.of_type("kubernetes:batch/v1:CronJob"),
    ]
    for workload in waiting:
        pod = _pod(workload, "10.64.1.1")
        own = {
            each.urn
            for each in policies
            if each.inputs["metadata"]["namespace"] == pod.namespace
            and selects(each.inputs["spec"]["podSelector"], pod.labels)
        }
        # Default deny and DNS at the least.
        assert len(own) > 1
        assert own - _before(graph, workload) == set()
    for name, half in (("models-read", "serving"), ("models-write", "jobs")):
        claim = graph.one("kubernetes:core/v1:PersistentVolumeClaim", name)
        shared = {each.urn for each in policies if each.name.startswith(f"namespaces-{half}-")}
        assert len(shared) == 3
        assert shared - _before(graph, claim) == set()


def _before(graph: Graph, resource: Resource) -> set[str]:
    """URNs of all resources that exist before this one does."""
    seen: set[str] = set()
    waiting = [resource.urn]
    while waiting:
        known = graph.resources.get(waiting.pop())
        if known is not None:
            ahead = {*known.dependencies, known.parent} - seen
            seen |= ahead
            waiting += ahead
    return seen


def test_a_change_of_source_opens_and_closes_its_own_port_alone(graph: Graph) -> None:
    """A model that moves to another registry changes its own policy, and no one else's."""
    moved = {**SOURCES, "plain": {"from": "http://registry.internal:5001/team/model"}}
    after = evaluate(
        ROOT / "Pulumi.dev.yaml", {"models": [{"name": name, **source} for name, source in moved.items()]}
    )
    changed = {
        policy.name for policy in graph.of_type(POLICY) if after.resources[policy.urn].inputs != policy.inputs
    }
    assert changed == {"plain-model"}
