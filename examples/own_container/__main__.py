"""Ollama with a ready model beside a container of your own, on the nodes of a stack of ollama-eks.

The model is one of that stack's: its Job has made it ready, and it is kept for as long as this Deployment
names it. Your container finds it at http://127.0.0.1:11500 from its first moment on.

It goes to the cluster of your kubeconfig: `aws eks update-kubeconfig --name <cluster>` first, with the output
`cluster` of that stack. No pod reaches it unless you add a NetworkPolicy, and it reaches others by 443 alone.
"""

from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, ContainerArgs, ServiceAccount

from components import pods
from components.pod_parts import HARDENED
from runtime.spec import ModelSpec, ServerSettings

NAME = "own-container"
PORT = 11500

config = pulumi.Config()
serving = pulumi.StackReference(config.require("platform")).require_output("serving")
namespace = serving["namespace"]
model_json = serving["models"][config.require("model")]

account = ServiceAccount(NAME, metadata={"namespace": namespace}, automount_service_account_token=False)
model = ConfigMap(NAME, metadata={"namespace": namespace}, data={"model.json": model_json})


def template(given: dict[str, Any]) -> dict[str, Any]:
    """The pod: your container, and the server with its own port, processors, memory and GPU."""
    server = pods.Serving(
        model=ModelSpec.model_validate_json(given["model"]),
        image=given["image"],
        claim=given["claim"],
        config=given["config"],
        parallel=1,
        context_tokens=8192,
        settings=ServerSettings(),
        pool="g6.2xlarge",
        gpus=1,
        cpu="4",
        memory_mib=24 * 1024,
        port=PORT,
    )
    main = ContainerArgs(
        name="main",
        image=config.require("image"),
        env=[{"name": "OLLAMA_HOST", "value": f"http://127.0.0.1:{PORT}"}],
        resources={"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        # The namespace takes no pod that asks for more.
        security_context=HARDENED,
    )
    return {
        "metadata": {"labels": {"app": NAME}, "annotations": pods.serving_annotations(server)},
        "spec": pods.serving_pod(
            server,
            main,
            service_account=given["account"],
            grace_seconds=60,
            priority_class=given["priority_class"],
        ),
    }


Deployment(
    NAME,
    metadata={"namespace": namespace},
    spec={
        "replicas": 1,
        "selector": {"match_labels": {"app": NAME}},
        # A second pod would want a second GPU.
        "strategy": {"type": "Recreate"},
        "template": pulumi.Output.all(
            model=model_json,
            image=serving["image"],
            claim=serving["readClaim"],
            priority_class=serving["priorityClass"],
            config=model.metadata["name"],
            account=account.metadata["name"],
        ).apply(template),
    },
)
