"""Example stacks: what teams write, from the smallest to the largest, and all that a stack can switch on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cli.graph import ROOT, Graph, evaluate

if TYPE_CHECKING:
    from pathlib import Path

DEV, LOCAL = ROOT / "Pulumi.dev.yaml", ROOT / "Pulumi.local.yaml"

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

FROM_S3: dict[str, Any] = {"name": "summarize", "modelfile": "FROM s3://our-models/tiny.gguf"}


def models(count: int) -> list[dict[str, Any]]:
    """So many models, with names as long as they may be."""
    return [{"name": f"{f'model-{number}-':a<40}", "from": "tiny"} for number in range(count)]


STACKS: dict[str, tuple[Path, dict[str, Any]]] = {
    "dev": (DEV, {}),
    "local": (LOCAL, {}),
    "production": (
        DEV,
        {
            "encryptionKey": "create",
            "expireDays": 365,
            "logRetentionDays": 90,
            "api": "private",
            "admins": ["arn:aws:iam::123456789012:role/Operators"],
            "alerts": {"email": "operators@example.com", "monthlyBudget": 2000},
            "network": {"zones": ["a", "b", "c"], "egress": "nat-per-zone"},
            "models": [FROM_S3, {"name": "extract", "from": "tiny", "minInstances": 1}],
        },
    ),
    "own key": (DEV, {"encryptionKey": KEY, "models": [FROM_S3]}),
    "unprotected": (DEV, {"encryptionKey": "create", "protect": False}),
    "spot": (DEV, {"capacityType": "spot"}),
    "CPU only": (
        DEV,
        {"instanceType": "m7i.4xlarge", "gpuCount": 0, "models": [{"name": "tags", "from": "tiny"}]},
    ),
    "paused": (DEV, {"maxInstances": 0}),
    "chained": (
        DEV,
        {
            "models": [
                {"name": "transcribe", "from": "tiny"},
                {"name": "summarize", "from": "tiny", "after": "transcribe"},
                {"name": "extract", "from": "tiny", "after": "transcribe", "output": {"schema": {}}},
                {"name": "judge", "from": "tiny", "after": "extract"},
            ]
        },
    ),
    "endpoints": (DEV, {"network": {"egress": "endpoints"}, "mirror": True, "models": [FROM_S3]}),
    "existing VPC": (
        DEV,
        {
            "network": {
                "existing": {
                    "vpcId": "vpc-0123456789abcdef0",
                    "subnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
                }
            }
        },
    ),
    "1 model": (DEV, {"models": models(1)}),
    "10 models": (DEV, {"models": models(10)}),
    "50 models": (DEV, {"encryptionKey": "create", "models": models(50)}),
}


@functools.cache
def graph_of(stack: str) -> Graph:
    """The graph of one of them, evaluated once for all tests."""
    file, changes = STACKS[stack]
    return evaluate(file, changes)
