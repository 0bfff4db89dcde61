# pyright: basic
# ruff: noqa: ANN001, ANN201, D102, N802, SLF001
# As in doubles.py; the wire's marks of secrets and references have no public names.
"""A double of the provider of `eks.Cluster`, a component that registers its children itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import grpc
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, resource_pb2, resource_pb2_grpc

from cli.computed import ACCOUNT, COMPUTED
from tests.engine import schemas
from tests.engine.doubles import OPTIONS, Provider, packed, plain, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER = "aws:eks/cluster:Cluster"


class Eks(Provider):
    """Registers the control plane as the one child, and hands out its kubeconfig as a secret.

    The real component registers its role and rules as well, and which they are is its own affair.
    """

    def Construct(self, request, context):
        inputs = {name: _bare(value) for name, value in plain(request.inputs).items()}
        if found := schemas.problems(request.type, inputs):
            refuse(context, "\n".join(found))
        with grpc.insecure_channel(request.monitorEndpoint, options=OPTIONS) as channel:
            monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
            component = monitor.RegisterResource(
                resource_pb2.RegisterResourceRequest(
                    type=request.type, name=request.name, parent=request.parent, protect=request.protect
                )
            )
            child = monitor.RegisterResource(
                resource_pb2.RegisterResourceRequest(
                    type=CLUSTER,
                    name=f"{request.name}-eksCluster",
                    custom=True,
                    parent=component.urn,
                    protect=request.protect,
                    object=packed(_control_plane(inputs)),
                    provider=request.providers.get("aws", ""),
                    version=version("pulumi-aws"),
                    dependencies=request.dependencies,
                    acceptSecrets=True,
                )
            )
            unknown = request.dryRun and not child.id
            kubeconfig = COMPUTED[request.type](request.name, inputs)["kubeconfigJson"]
            outputs = {
                "kubeconfigJson": {
                    rpc._special_sig_key: rpc._special_secret_sig,
                    "value": rpc.UNKNOWN if unknown else kubeconfig,
                },
                "eksCluster": {
                    rpc._special_sig_key: rpc._special_resource_sig,
                    "urn": child.urn,
                    "id": rpc.UNKNOWN if unknown else child.id,
                    "packageVersion": "",
                },
            }
            monitor.RegisterResourceOutputs(
                resource_pb2.RegisterResourceOutputsRequest(urn=component.urn, outputs=packed(outputs))
            )
        needs = provider_pb2.ConstructResponse.PropertyDependencies(urns=[child.urn])
        return provider_pb2.ConstructResponse(
            urn=component.urn, state=packed(outputs), stateDependencies=dict.fromkeys(outputs, needs)
        )


def _control_plane(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those inputs of the real control plane that the edits of a stack change."""
    return {
        "name": inputs["name"],
        "version": inputs["version"],
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{inputs['name']}",
        "vpcConfig": {
            "subnetIds": inputs["privateSubnetIds"],
            "endpointPublicAccess": inputs["endpointPublicAccess"],
            **({"publicAccessCidrs": cidrs} if (cidrs := inputs.get("publicAccessCidrs")) else {}),
        },
    }


def _bare(value: Any) -> Any:  # noqa: ANN401  whatever the wire holds
    """The value of an output or a secret, and the mark of an unknown where there is none yet."""
    if isinstance(value, dict):
        if rpc._special_sig_key in value:
            return _bare(value.get("value", rpc.UNKNOWN))
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value
