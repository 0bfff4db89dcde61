"""What holds for all serving pods: their rank, and what one may do to itself by the Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.names import name_of

if TYPE_CHECKING:
    from components.namespaces import Namespaces

RANK = 1000
"""Above the default of 0, so that nothing of the user's that finds its way onto a model node pushes a busy
pod off it, and far below the cluster's own pods."""

_COST = "controller.kubernetes.io/pod-deletion-cost"

_ITSELF = "authentication.kubernetes.io/pod-name"
"""Who asks, by the token that the kubelet got for that pod (Kubernetes manual, service account tokens)."""

_UNCHANGED = " && ".join(
    (
        "object.spec == oldObject.spec",
        *(
            f"object.metadata.?{field} == oldObject.metadata.?{field}"
            for field in ("labels", "finalizers", "ownerReferences")
        ),
        *(
            f"variables.{one}.all(name, name == '{_COST}' || "
            f"name in variables.{other} && variables.{one}[name] == variables.{other}[name])"
            for one, other in (("before", "after"), ("after", "before"))
        ),
    )
)
"""CEL: an update leaves all of a pod as it was, but for its deletion cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodRulesArgs:
    """The namespaces whose serving half the rules are for."""

    namespaces: Namespaces


class PodRules(pulumi.ComponentResource):
    """A serving pod may say how much its loss would cost, may delete itself, and may do nothing else.

    RBAC cannot tell a pod from its neighbours, so the role allows both on every pod of the namespace, and an
    admission policy holds each pod to itself.
    """

    priority_class: pulumi.Output[str]

    def __init__(self, name: str, args: PodRulesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:PodRules", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = args.namespaces.serving

        rank = kubernetes.scheduling.v1.PriorityClass(
            name,
            description="Pods that serve models.",
            value=RANK,
            # A document in hand is worth as much as one that waits.
            preemption_policy="Never",
            opts=child,
        )
        policy = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
            name,
            spec={
                "failure_policy": "Fail",
                "match_constraints": {
                    "resource_rules": [
                        {
                            "api_groups": [""],
                            "api_versions": ["v1"],
                            "resources": ["pods", "pods/*"],
                            "operations": ["*"],
                        }
                    ],
                },
                "match_conditions": [
                    {
                        "name": "asked-by-a-serving-pod",
                        "expression": namespace.apply(
                            lambda text: f"'system:serviceaccounts:{text}' in request.userInfo.groups"
                        ),
                    }
                ],
                "variables": [
                    {
                        "name": name,
                        "expression": f"{pod} == null ? {{}} : {pod}.metadata.?annotations.orValue({{}})",
                    }
                    for name, pod in (("before", "oldObject"), ("after", "object"))
                ],
                "validations": [
                    {
                        "expression": "request.operation in ['UPDATE', 'DELETE'] && "
                        "request.?subResource.orValue('') == ''",
                        "message": "a serving pod may annotate and delete itself, and nothing else",
                    },
                    {
                        "expression": f"request.name in request.userInfo.?extra[?'{_ITSELF}'].orValue([])",
                        "message_expression": "'a serving pod may change itself alone, not ' + request.name",
                    },
                    {
                        "expression": f"request.operation != 'UPDATE' || {_UNCHANGED}",
                        "message": f"a serving pod may change {_COST} of itself, and nothing else",
                    },
                ],
            },
            opts=child,
        )
        held = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            name,
            spec={"policy_name": name_of(policy.metadata), "validation_actions": ["Deny"]},
            opts=child,
        )
        role = kubernetes.rbac.v1.Role(
            name,
            metadata={"namespace": namespace},
            rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["patch", "delete"]}],
            opts=child,
        )
        kubernetes.rbac.v1.RoleBinding(
            name,
            metadata={"namespace": namespace},
            role_ref={
                "api_group": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": name_of(role.metadata),
            },
            subjects=[
                {
                    "api_group": "rbac.authorization.k8s.io",
                    "kind": "Group",
                    "name": pulumi.Output.concat("system:serviceaccounts:", namespace),
                }
            ],
            # Created after: until it holds, a pod could change its neighbours.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[held]),
        )
        self.priority_class = name_of(rank.metadata)
        self.register_outputs({"priorityClass": self.priority_class})
