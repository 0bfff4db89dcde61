"""Identity: type tokens are state, so they are written down here; and every resource has its place."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from cli.graph import ROOT

if TYPE_CHECKING:
    from cli.graph import Graph

TOKENS = {
    "AccessPolicies": "ollama-eks:index:AccessPolicies",
    "Addons": "ollama-eks:index:Addons",
    "Cluster": "ollama-eks:index:Cluster",
    "Collector": "ollama-eks:index:Collector",
    "ClusterAutoscaler": "ollama-eks:index:ClusterAutoscaler",
    "Documents": "ollama-eks:index:Documents",
    "Keda": "ollama-eks:index:Keda",
    "Encryption": "ollama-eks:index:Encryption",
    "FlowLogs": "ollama-eks:index:FlowLogs",
    "Image": "ollama-eks:index:Image",
    "Model": "ollama-eks:index:Model",
    "ModelQueue": "ollama-eks:index:ModelQueue",
    "ModelStore": "ollama-eks:index:ModelStore",
    "Namespaces": "ollama-eks:index:Namespaces",
    "NatGateways": "ollama-eks:index:NatGateways",
    "Network": "ollama-eks:index:Network",
    "NodeAddons": "ollama-eks:index:NodeAddons",
    "Nodes": "ollama-eks:index:Nodes",
    "PodIdentity": "ollama-eks:index:PodIdentity",
    "PodRules": "ollama-eks:index:PodRules",
    "Service": "ollama-eks:index:Service",
    "VpcEndpoints": "ollama-eks:index:VpcEndpoints",
    "Watch": "ollama-eks:index:Watch",
}
"""A token that changes makes Pulumi destroy everything below it and make it anew: rename with an alias."""

COMPONENTS = {
    node.name: node
    for file in sorted((ROOT / "components").rglob("*.py"))
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.ClassDef)
    if "pulumi.ComponentResource" in {ast.unparse(base) for base in node.bases}
}


def _init(name: str) -> ast.FunctionDef:
    (init,) = (
        each
        for each in COMPONENTS[name].body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    )
    return init


def _calls(init: ast.FunctionDef, function: str) -> list[ast.Call]:
    return [
        node for node in ast.walk(init) if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    ]


def test_every_component_has_the_token_that_is_written_here() -> None:
    """Tokens are literals, and these."""
    found = {
        name: ast.literal_eval(_calls(_init(name), "super().__init__")[0].args[0]) for name in COMPONENTS
    }
    assert found == TOKENS


def test_the_program_uses_every_component(dev: Graph) -> None:
    """No token of this project is in the graph but those, and none of them is left unused."""
    used = {each.type for each in dev.resources.values() if each.type.startswith("ollama-eks:")}
    assert used == set(TOKENS.values())


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_outputs_are_registered_once_and_last(name: str) -> None:
    """Until then the engine takes the component for unfinished; after it nothing may be added."""
    init = _init(name)
    last = init.body[-1]
    assert isinstance(last, ast.Expr)
    assert _calls(init, "self.register_outputs") == [last.value]


def test_only_components_stand_at_the_top(dev: Graph) -> None:
    """`__main__.py` makes components, and each of them is one of these, by its name in the stack."""
    top = {
        (each.type.rpartition(":")[2], each.name)
        for each in dev.resources.values()
        if each.parent not in dev.resources
    }
    assert top == {
        ("Encryption", "encryption"),
        ("Image", "image"),
        ("Network", "network"),
        ("Watch", "watch"),
        ("AccessPolicies", "access"),
        ("Cluster", "cluster"),
        ("NodeAddons", "node-addons"),
        ("Nodes", "nodes"),
        ("Documents", "documents"),
        ("Addons", "addons"),
        ("Namespaces", "namespaces"),
        ("Keda", "keda"),
        ("ModelStore", "models"),
        ("PodRules", "pod-rules"),
        ("Collector", "collector"),
        *((kind, name) for kind in ("ModelQueue", "Model", "Service") for name in ("summarize", "extract")),
    }


def test_every_resource_is_the_child_of_a_component(dev: Graph) -> None:
    """What a provider makes has one of this project's components as its parent, never another resource."""
    astray = {
        each.urn
        for each in dev.resources.values()
        if each.type not in TOKENS.values()
        and (each.parent not in dev.resources or dev.resources[each.parent].type not in TOKENS.values())
    }
    assert astray == set()


def test_kubernetes_objects_go_to_this_cluster(dev: Graph) -> None:
    """Each names the cluster's own provider; the default one would write to whatever cluster is current."""
    (provider,) = dev.of_type("pulumi:providers:kubernetes")
    kubernetes = [each for each in dev.resources.values() if each.type.startswith("kubernetes:")]
    assert {each.provider.rpartition("::")[0] for each in kubernetes} == {provider.urn}
