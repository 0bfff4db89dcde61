"""The two namespaces: one where models are served, one where the Jobs that may write models run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.names import JOBS_NAMESPACE, SERVING_NAMESPACE, name_of
from components.network_policies import DEFAULT_DENY, TO_DNS, TO_HTTPS, TO_POD_IDENTITY, egress

if TYPE_CHECKING:
    from collections.abc import Mapping

DRAINED = pulumi.CustomTimeouts(delete="13h")
"""What is deleted only after its pods have left may have to wait for the longest time limit."""

MODEL_JOBS = {"app": "model"}
"""Labels of the pods that fill the store; they, unlike their namespace's other pods, reach the internet."""


class Namespaces(pulumi.ComponentResource):
    """Both under the strictest pod security standard, and cut off but for what their pods need.

    A namespace is published once its network policies are there: no pod starts without them. And they are
    deleted after the claims, which wait for the last pod: one that still drains can hand its documents back.
    """

    serving: pulumi.Output[str]
    jobs: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Namespaces", name, None, opts)
        self.serving = self._namespace(f"{name}-serving", SERVING_NAMESPACE, reaching_aws={})
        self.jobs = self._namespace(f"{name}-jobs", JOBS_NAMESPACE, reaching_aws=MODEL_JOBS)
        self.register_outputs({"serving": self.serving, "jobs": self.jobs})

    def _namespace(self, name: str, namespace: str, *, reaching_aws: Mapping[str, str]) -> pulumi.Output[str]:
        made = kubernetes.core.v1.Namespace(
            name,
            metadata={
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=DRAINED),
        )
        text = name_of(made.metadata)
        policies = [
            kubernetes.networking.v1.NetworkPolicy(
                f"{name}-{need}",
                metadata={"namespace": text},
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for need, spec in (
                ("default-deny", DEFAULT_DENY),
                ("dns", egress({}, TO_DNS)),
                ("aws", egress(reaching_aws, TO_POD_IDENTITY, TO_HTTPS)),
            )
        ]
        return pulumi.Output.all(text, *(policy.id for policy in policies)).apply(lambda parts: str(parts[0]))
