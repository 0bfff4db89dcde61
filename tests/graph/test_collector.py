"""Garbage collection: what its CronJob runs, what it may do, and that it can be turned off."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from cli.graph import ROOT, evaluate
from runtime.spec import ModelSpec

if TYPE_CHECKING:
    from cli.graph import Graph

CRON_JOB = "kubernetes:batch/v1:CronJob"
ROLE = "kubernetes:rbac.authorization.k8s.io/v1:Role"
ROLE_BINDING = "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding"
RIGHTS = {
    "collector-serving": ("ollama", "apps", ["deployments", "replicasets"]),
    "collector-jobs": ("ollama-models", "batch", ["jobs"]),
}
"""By the name of a Role: its namespace, and what of which API group it lets be listed."""

LISTS = [
    f"apis/{group}/v1/namespaces/{namespace}/{kind}"
    for namespace, group, kinds in RIGHTS.values()
    for kind in kinds
]


def _run(graph: Graph) -> dict[str, Any]:
    """The spec of the Job that each night makes."""
    return graph.one(CRON_JOB, "collector").inputs["spec"]["jobTemplate"]["spec"]


def test_it_runs_once_a_day_and_never_beside_itself(dev: Graph) -> None:
    """A run that hangs is ended within the hour, so that the next one can start, which is its retry."""
    cron_job = dev.one(CRON_JOB, "collector").inputs
    assert cron_job["metadata"] == {"namespace": "ollama-models"}
    assert {key: cron_job["spec"][key] for key in cron_job["spec"].keys() - {"jobTemplate"}} == {
        "schedule": "40 3 * * *",
        "concurrencyPolicy": "Forbid",
    }
    run = _run(dev)
    assert run.keys() == {"activeDeadlineSeconds", "backoffLimit", "template"}
    assert (run["activeDeadlineSeconds"], run["backoffLimit"]) == (3600, 0)
    assert run["template"]["metadata"] == {"labels": {"app": "collector"}}


def test_its_pod_is_exactly_this(dev: Graph) -> None:
    """The store to write to, a token to list with, a home to hold nothing: on a system node, for one run."""
    job = dev.one("kubernetes:batch/v1:Job", "summarize-model").inputs["spec"]["template"]["spec"]
    store = ModelSpec.model_fields["store"].default
    command = ["ollama-eks-provision", "--collect", store]
    assert _run(dev)["template"]["spec"] == {
        "serviceAccountName": "collector",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": {"ollama-eks/pool": "system"},
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "collect",
                "image": job["containers"][0]["image"],
                "command": [*command, *(word for path in LISTS for word in ("--roots-of", path))],
                "env": [{"name": "HOME", "value": "/home/ollama"}],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "volumeMounts": [
                    {"name": "models", "mountPath": store},
                    {"name": "home", "mountPath": "/home/ollama"},
                    {
                        "name": "api-token",
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                        "readOnly": True,
                    },
                ],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        "volumes": [
            {
                "name": "models",
                "persistentVolumeClaim": {"claimName": "models-write-graph", "readOnly": False},
            },
            {"name": "home", "emptyDir": {}},
            {
                "name": "api-token",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                        {
                            "configMap": {
                                "name": "kube-root-ca.crt",
                                "items": [{"key": "ca.crt", "path": "ca.crt"}],
                            }
                        },
                    ]
                },
            },
        ],
    }
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert command[0] in scripts


def test_it_may_list_what_names_models_and_nothing_else(dev: Graph) -> None:
    """Its account has the rights to the lists that its command names, no other ones, and no AWS role."""
    account = {"kind": "ServiceAccount", "name": "collector", "namespace": "ollama-models"}
    bindings = [each for each in dev.of_type(ROLE_BINDING) if account in each.inputs["subjects"]]
    roles = {each.outputs["metadata"]["name"]: each for each in dev.of_type(ROLE)}
    assert {
        binding.name: (binding.inputs["metadata"], binding.inputs["subjects"], binding.inputs["roleRef"])
        for binding in bindings
    } == {
        name: (
            {"namespace": namespace},
            [account],
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"{name}-graph"},
        )
        for name, (namespace, _, _) in RIGHTS.items()
    }
    held = [roles[binding.inputs["roleRef"]["name"]].inputs for binding in bindings]
    assert {role["metadata"]["namespace"]: role["rules"] for role in held} == {
        namespace: [{"apiGroups": [group], "resources": kinds, "verbs": ["list"]}]
        for namespace, group, kinds in RIGHTS.values()
    }
    made = dev.one("kubernetes:core/v1:ServiceAccount", "collector").inputs
    assert (made["metadata"], made["automountServiceAccountToken"]) == (
        {"name": "collector", "namespace": "ollama-models"},
        False,
    )
    identities = dev.of_type("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert "collector" not in {each.inputs["serviceAccount"] for each in identities}


def test_it_starts_with_all_of_its_rights(dev: Graph) -> None:
    """Without its account, its rights, its way to the API server or the store a run fails for the day."""
    cron_job = dev.one(CRON_JOB, "collector")
    claim = dev.one("kubernetes:core/v1:PersistentVolumeClaim", "models-write")
    needed = {
        claim.urn,
        dev.one("kubernetes:core/v1:ServiceAccount", "collector").urn,
        dev.one("kubernetes:networking.k8s.io/v1:NetworkPolicy", "collector").urn,
        *(dev.one(ROLE_BINDING, name).urn for name in RIGHTS),
    }
    assert needed - cron_job.dependencies == set()


def test_jobs_and_the_collector_alone_can_write_to_the_store(dev: Graph) -> None:
    """Of all pods, those of the Jobs' namespace have the claim that writes, and no other has."""
    pods = {
        each.name: each.inputs["spec"]["template"]["spec"]
        for kind in ("apps/v1:Deployment", "batch/v1:Job")
        for each in dev.of_type(f"kubernetes:{kind}")
    } | {"collector": _run(dev)["template"]["spec"]}
    writers = {
        name
        for name, pod in pods.items()
        for volume in pod["volumes"]
        if volume.get("persistentVolumeClaim", {}).get("claimName") == "models-write-graph"
    }
    assert writers == {"summarize-model", "extract-model", "collector"}


def test_it_can_be_turned_off(dev: Graph) -> None:
    """Then nothing of it is there, and nothing else is another one."""
    without = evaluate(ROOT / "Pulumi.dev.yaml", {"collectModels": False})
    assert {
        (each.type, each.name) for urn, each in dev.resources.items() if urn not in without.resources
    } == {
        ("ollama-eks:index:Collector", "collector"),
        (CRON_JOB, "collector"),
        ("kubernetes:core/v1:ServiceAccount", "collector"),
        ("kubernetes:networking.k8s.io/v1:NetworkPolicy", "collector"),
        *((kind, name) for kind in (ROLE, ROLE_BINDING) for name in RIGHTS),
    }
    assert all(dev.resources[urn] == each for urn, each in without.resources.items())
