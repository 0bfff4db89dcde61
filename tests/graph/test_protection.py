"""What outlives a stack, and that nothing does unless it is to."""

from __future__ import annotations

import json
import re

import pytest

from cli.graph import ROOT
from tests.graph.rules.policies import label
from tests.graph.stacks import graph_of

PROTECTED = {"Bucket documents", "Bucket results", "FileSystem models"}
KEY = "Key encryption"
SETTINGS = {
    f"{kind} {bucket}"
    for bucket in ("documents", "results")
    for kind in (
        "BucketLifecycleConfiguration",
        "BucketNotification",
        "BucketOwnershipControls",
        "BucketPolicy",
        "BucketPublicAccessBlock",
        "BucketServerSideEncryptionConfiguration",
        "BucketVersioning",
    )
}
"""Without them a bucket that stays would be less private than before."""

DOCUMENT = (ROOT / "docs" / "protection.md").read_text()


@pytest.mark.parametrize(
    ("stack", "protected"), [("dev", PROTECTED), ("production", PROTECTED | {KEY}), ("unprotected", set())]
)
def test_exactly_this_is_protected(stack: str, protected: set[str]) -> None:
    """What holds data, and the key that opens it."""
    resources = graph_of(stack).resources.values()
    assert {label(each) for each in resources if each.protect} == protected


@pytest.mark.parametrize(
    ("stack", "retained"),
    [
        ("dev", PROTECTED | SETTINGS),
        ("production", PROTECTED | {KEY} | SETTINGS),
        ("unprotected", set()),
    ],
)
def test_exactly_this_stays_when_it_leaves_the_program(stack: str, retained: set[str]) -> None:
    """What is protected, and all that a bucket is by its settings."""
    resources = graph_of(stack).resources.values()
    assert {label(each) for each in resources if each.retain_on_delete} == retained


@pytest.mark.parametrize("stack", ["dev", "unprotected"])
def test_a_bucket_is_emptied_only_without_protection(stack: str) -> None:
    """Then a destroy means it."""
    buckets = graph_of(stack).of_type("aws:s3/bucket:Bucket")
    assert [each.inputs["forceDestroy"] for each in buckets] == [stack == "unprotected"] * 2


def test_a_new_stack_takes_over_all_that_stays() -> None:
    """The import file of the docs names each of them, under the parent that it has in the program."""
    (text,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    entries = json.loads(text)["resources"]
    parents = {each["name"]: (each["type"], each["logicalName"]) for each in entries if "component" in each}
    named = {
        (each["type"], each["name"], *parents[each["parent"]]) for each in entries if "component" not in each
    }
    graph = graph_of("production")
    assert named == {
        (each.type, each.name, graph.resources[each.parent].type, graph.resources[each.parent].name)
        for each in graph.resources.values()
        if each.protect
    }
