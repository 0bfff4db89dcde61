"""The image's component: what `image: build` makes, what a reference makes, and what makes another tag."""

from __future__ import annotations

import json
import shutil
from datetime import date
from typing import TYPE_CHECKING, Any

import boto3
import moto
import pytest
from botocore.exceptions import ClientError

from cli.graph import PROJECT, ROOT, Project, evaluate
from components.image import LIFECYCLE
from components.image_inputs import build_args, build_files, build_or_reference, content_tag
from components.locked import Lock, read
from components.versions import OLLAMA_IMAGE, PYTHON_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.graph import Graph

PROGRAM = """
import pulumi
from components import stack
from components.image import Image, ImageArgs

key_arn = pulumi.Output.from_input("arn:aws:kms:eu-central-1:123456789012:key/k") if {key} else None
image = Image("image", ImageArgs(stack=stack.load(), key_arn=key_arn))
pulumi.export("reference", image.reference)
"""
REPOSITORY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/image-graph"
DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def graph_of(tmp_path: Path) -> Callable[..., Graph]:
    """Evaluates the component alone, for a stack whose file says this of its image."""

    def graph_of(image: str, *, key: bool = False) -> Graph:
        program = tmp_path / "__main__.py"
        program.write_text(PROGRAM.format(key=key))
        return evaluate(ROOT / "Pulumi.dev.yaml", {"image": image}, project=Project(PROJECT, program))

    return graph_of


def _made(graph: Graph) -> dict[str, dict[str, Any]]:
    return {each.type: each.inputs for each in graph.resources.values() if each.custom}


def test_a_build_goes_into_a_repository_of_its_own(graph_of: Callable[..., Graph]) -> None:
    """Exactly this is made, and the pods pull by digest."""
    graph = graph_of("build")
    assert graph.exports == {"reference": f"{REPOSITORY}@{DIGEST}"}
    args = build_args(read())
    assert _made(graph) == {
        "aws:ecr/repository:Repository": {
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": {"scanOnPush": True},
            "encryptionConfigurations": [{"encryptionType": "AES256"}],
            "forceDelete": True,
        },
        "aws:ecr/lifecyclePolicy:LifecyclePolicy": {
            "repository": "image-graph",
            "policy": json.dumps(LIFECYCLE),
        },
        "docker-build:index:Image": {
            "context": {"location": "."},
            "dockerfile": {"location": "runtime/Dockerfile"},
            "buildArgs": args,
            "platforms": ["linux/amd64"],
            "tags": [f"{REPOSITORY}:{content_tag(ROOT, args)}"],
            "push": True,
            "buildOnPreview": False,
            "network": "default",
            "registries": [{"address": REPOSITORY, "username": "AWS", "password": "graph"}],
        },
    }
    (component,) = graph.of_type("ollama-eks:index:Image")
    assert {each.parent for each in graph.resources.values() if each.custom} == {component.urn}
    # An image is made again where data is not.
    assert not any(each.protect for each in graph.resources.values())
    # By itself it would be deleted with a password that holds for 12 hours.
    kept = [each.type for each in graph.resources.values() if each.retain_on_delete]
    assert kept == ["docker-build:index:Image"]


def test_the_stacks_key_encrypts_it_too(graph_of: Callable[..., Graph]) -> None:
    """Where there is one."""
    repository = _made(graph_of("build", key=True))["aws:ecr/repository:Repository"]
    assert repository["encryptionConfigurations"] == [
        {"encryptionType": "KMS", "kmsKey": "arn:aws:kms:eu-central-1:123456789012:key/k"}
    ]


def test_a_reference_is_used_as_it_is_and_nothing_is_made(graph_of: Callable[..., Graph]) -> None:
    """For those who build elsewhere."""
    graph = graph_of("registry.test/ollama-eks:0.1.0")
    assert graph.exports == {"reference": "registry.test/ollama-eks:0.1.0"}
    assert _made(graph) == {}


def test_ecr_takes_the_policy_which_keeps_what_is_in_use() -> None:
    """Leftovers go after a day, builds when there are ten newer ones."""
    rules = [
        (each["selection"]["tagStatus"], each["selection"]["countNumber"]) for each in LIFECYCLE["rules"]
    ]
    assert rules == [("untagged", 1), ("tagged", 10)]
    with moto.mock_aws():
        ecr = boto3.client("ecr", region_name="eu-central-1")
        ecr.create_repository(repositoryName="image")
        ecr.put_lifecycle_policy(repositoryName="image", lifecyclePolicyText=json.dumps(LIFECYCLE))
        broken = json.dumps(LIFECYCLE).replace("imageCountMoreThan", "imageCount")
        with pytest.raises(ClientError, match="validation failure"):
            ecr.put_lifecycle_policy(repositoryName="image", lifecyclePolicyText=broken)


def test_what_is_locked_is_built_from_by_digest() -> None:
    """And what is not by its tag alone."""
    lock = Lock(digest=DIGEST, source="https://registry.test/", date=date(2026, 11, 22))
    assert build_args({PYTHON_IMAGE: lock, "another:1": lock}) == {
        "OLLAMA_IMAGE": OLLAMA_IMAGE,
        "PYTHON_IMAGE": f"{PYTHON_IMAGE}@{DIGEST}",
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What Docker would see, and .dockerignore."""
    root = tmp_path / "checkout"
    for path in [*build_files(ROOT), ROOT / ".dockerignore"]:
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return root


def test_a_checkout_elsewhere_has_the_same_tag(checkout: Path) -> None:
    """Files that Docker does not see are no difference, nor are times."""
    args = {"PYTHON_IMAGE": "python:1"}
    tag = content_tag(checkout, args)
    assert tag == content_tag(ROOT, args)
    (checkout / "README.md").write_text("other")
    (checkout / "runtime" / "__pycache__").mkdir()
    (checkout / "runtime" / "__pycache__" / "spec.cpython-311.pyc").write_text("other")
    (checkout / "runtime" / "spec.py").touch()
    assert content_tag(checkout, args) == tag


EDITS: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "uv.lock").write_text("other"),
    "name": lambda root: (root / "runtime" / "spec.py").rename(root / "runtime" / "spec2.py"),
    "mode": lambda root: (root / "tools" / "uv").chmod(0o700),
    "new file": lambda root: (root / "runtime" / "worker" / "new.py").write_text(""),
    "Dockerfile": lambda root: (root / "runtime" / "Dockerfile").write_text("FROM scratch"),
    "argument": lambda _root: None,
}


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_makes_another_image_makes_another_tag(checkout: Path, edit: str) -> None:
    """ECR refuses another image under a tag that it has."""
    tag = content_tag(checkout, {"PYTHON_IMAGE": "python:1"})
    EDITS[edit](checkout)
    assert content_tag(checkout, {"PYTHON_IMAGE": f"python:{2 if edit == 'argument' else 1}"}) != tag


@pytest.mark.parametrize(
    "image",
    [
        "build",
        "ollama-eks:0.1.0",
        "user/ollama-eks:v1",
        "localhost:5000/ollama-eks:1",
        f"{REPOSITORY}:0.1.0",
        f"{REPOSITORY}@{DIGEST}",
        f"{REPOSITORY}:latest@{DIGEST}",
    ],
)
def test_a_reference_that_says_which_image_is_taken(image: str) -> None:
    """By a tag, a digest or both, from whatever registry."""
    assert build_or_reference(image) == image


@pytest.mark.parametrize(
    "image",
    ["", "none", "Build", REPOSITORY, f"{REPOSITORY}:latest", "a b:1", "https://a/b:1", "a:1@sha256:0"],
)
def test_a_reference_that_may_mean_another_image_tomorrow_is_refused(image: str) -> None:
    """Pods of one release would run different images."""
    with pytest.raises(ValueError, match="must be build, or a reference with a tag other than latest"):
        build_or_reference(image)
