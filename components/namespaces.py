"""The two namespaces: one where models are served, one where the Jobs that may write models run."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes

from components.names import JOBS_NAMESPACE, SERVING_NAMESPACE

DRAINED = pulumi.CustomTimeouts(delete="13h")
"""What is deleted only after its pods have left may have to wait for the longest time limit."""


class Namespaces(pulumi.ComponentResource):
    """Both under the strictest pod security standard: no pod of this system needs more."""

    serving: pulumi.Output[str]
    jobs: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ollama-eks:index:Namespaces", name, None, opts)
        self.serving = self._namespace(f"{name}-serving", SERVING_NAMESPACE)
        self.jobs = self._namespace(f"{name}-jobs", JOBS_NAMESPACE)
        self.register_outputs({"serving": self.serving, "jobs": self.jobs})

    def _namespace(self, name: str, namespace: str) -> pulumi.Output[str]:
        made = kubernetes.core.v1.Namespace(
            name,
            metadata={
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=DRAINED),
        )
        return made.metadata.apply(lambda metadata: str(metadata.name))
