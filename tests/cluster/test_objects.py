"""A real API server takes every object of every stack as it is sent, and no update finds a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.graph import ROOT, Project, evaluate
from tests.cluster import stacks
from tests.cluster.api import Answer, ApiError, reference
from tests.cluster.manifests import MANAGER, Manifest, is_object, manifests
from tests.cluster.stacks import model
from tests.graph import stacks as example_stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cli.graph import Graph
    from tests.cluster.api import Object
    from tests.cluster.stack import Stack

ADMITTED_SECONDS = 15

OFFICE_HOURS = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "instances": 2}


def _changed(**changes: Any) -> Callable[[], Graph]:  # noqa: ANN401  a stack file's own values
    return lambda: evaluate(ROOT / "Pulumi.dev.yaml", changes)


STACKS: dict[str, Callable[[], Graph]] = {
    "dev": stacks.dev,
    "local": lambda: evaluate(ROOT / "Pulumi.local.yaml"),
    "on CPUs": _changed(instanceType="m7i.2xlarge", gpuCount=0, models=[model("on-cpus")]),
    "models of every kind": _changed(
        capacityType="spot",
        # Nobody but the tests scales anything meanwhile.
        scaling={"pollSeconds": 300},
        models=[
            model("paused", maxInstances=0),
            model("never-none", minInstances=1, schedule=[OFFICE_HOURS]),
            model("another-pool", instanceType="g5.xlarge", scaling={"cooldownSeconds": 900}),
            model("parallel", parallel=4, documentsPerInstance=8, timeLimit="11h", memory="12Gi"),
            model("embedding", task="embed", **{"from": "nomic-embed-text"}),
            model("n" * 40),
        ],
    ),
}


@pytest.fixture(scope="module", params=STACKS)
def answers(request: pytest.FixtureRequest, stack: Stack) -> dict[str, Answer]:
    """What the server said of each object of a stack, none of whose Deployments was there before."""
    for kind in ("ScaledObject", "Deployment"):
        for each in stack.objects(kind):
            stack.delete(each)
    return stack.up(STACKS[request.param]())


def test_no_object_draws_a_warning(answers: dict[str, Answer], stack: Stack) -> None:
    """All are applied with strict validation; a template whose pods would be refused would draw a warning."""
    assert answers.keys() == {each.urn for each in stack.graph.resources.values() if is_object(each)}
    assert {urn: answer.warnings for urn, answer in answers.items() if answer.warnings} == {}


@pytest.mark.usefixtures("answers")
def test_a_second_apply_changes_nothing(stack: Stack) -> None:
    """As Pulumi updates: all that was sent at first, but for a field that it ignores and KEDA owns."""
    assert _not_the_same(stack, stack.manifests) == []


@pytest.mark.parametrize("name", example_stacks.STACKS)
def test_every_example_stack_is_taken(stack: Stack, name: str) -> None:
    """By a dry run, which KEDA's webhooks see too: strictly valid, and without a warning."""
    stack.up(stacks.quick(model("nobody-elses")))
    graph = example_stacks.graph_of(name)
    queues = {each.outputs["url"]: each.outputs["url"] for each in graph.of_type("aws:sqs/queue:Queue")}
    made = manifests(graph, queues)
    assert {each.object["kind"] for each in made} >= {"Deployment", "Job", "ScaledObject", "NetworkPolicy"}
    answers = {each.urn: stack.cluster.api.apply(each.object, MANAGER, dryRun="All") for each in made}
    assert {urn: answer.warnings for urn, answer in answers.items() if answer.warnings} == {}


def test_what_pulumi_leaves_out_of_an_update_would_be_refused(stack: Stack) -> None:
    """Once KEDA has scaled a Deployment, its replicas as at first are a conflict, not taken in silence."""
    stack.up(STACKS["models of every kind"]())
    deployment = stack.of_model("Deployment", "never-none")
    stack.pods.wait_for("KEDA brings it a pod", lambda: stack.pods.of("never-none"), ADMITTED_SECONDS)
    with pytest.raises(ApiError, match=r"Apply failed with 1 conflict: .*: \.spec\.replicas"):
        stack.cluster.api.apply(deployment, MANAGER, dryRun="All")


@pytest.mark.usefixtures("answers")
def test_pods_of_every_template_are_admitted(stack: Stack) -> None:
    """Pod security and every other admission plugin let them through, again without a warning."""
    pods = [pod for manifest in stack.manifests if (pod := _pod_of(manifest.object))]
    assert len(pods) >= 2 * len(stack.objects("Deployment"))
    assert [warning for pod in pods for warning in stack.cluster.api.create(pod, dryRun="All").warnings] == []


@pytest.mark.usefixtures("answers")
def test_a_deployment_that_is_scaled_has_its_pod(stack: Stack) -> None:
    """Not only by a dry run: the controllers make it, whatever KEDA makes of it then."""
    names = [each["metadata"]["name"] for each in stack.objects("Deployment")]
    before = {name: len(stack.pods.ever(name)) for name in names}
    for deployment in stack.objects("Deployment"):
        stack.cluster.api.patch(deployment, {"spec": {"replicas": 1}}, "scale")
    stack.pods.wait_for(
        "every Deployment has made a pod",
        lambda: all(stack.pods.of(name) or len(stack.pods.ever(name)) > before[name] for name in names),
        ADMITTED_SECONDS,
    )


def test_another_program_gets_its_own_container_beside_a_model(stack: Stack) -> None:
    """The example's objects are taken too, in the namespace of the stack that it refers to."""
    stack.up(stacks.dev())
    example = ROOT / "examples/own_container"
    graph = evaluate(
        example / "Pulumi.dev.yaml",
        project=Project("own-container", example / "__main__.py"),
        references={"organization/ollama-eks/dev": stacks.dev().exports},
    )
    own = manifests(graph, {})
    try:
        assert [warning for each in own for warning in stack.send(each).warnings] == []
        assert _not_the_same(stack, own) == []
        pods = [pod for each in own if (pod := _pod_of(each.object))]
        assert [stack.cluster.api.create(pod, dryRun="All").warnings for pod in pods] == [()]
    finally:
        for each in reversed(own):
            stack.delete(each.object)


def test_what_kubernetes_does_not_know_is_refused(stack: Stack) -> None:
    """The validation is strict, so that a misspelt field of any object is an error here."""
    stack.up(stacks.dev())
    deployment = stack.of_model("Deployment", "summarize")
    misspelt = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(ApiError, match=r"\.spec\.replica: field not declared in schema"):
        stack.cluster.api.apply(misspelt, MANAGER, dryRun="All")


def test_a_template_whose_pods_would_be_refused_draws_a_warning(stack: Stack) -> None:
    """Pod security lets the Deployment pass; the server's warning is what shows it."""
    stack.up(stacks.dev())
    deployment = stack.of_model("Deployment", "summarize")
    spec = {**deployment["spec"]["template"]["spec"], "hostNetwork": True}
    template = {**deployment["spec"]["template"], "spec": spec}
    loose = {**deployment, "spec": {**deployment["spec"], "template": template}}
    (warning,) = stack.cluster.api.apply(loose, MANAGER, dryRun="All").warnings
    assert warning.startswith('would violate PodSecurity "restricted:latest": host namespaces')
    with pytest.raises(ApiError, match='violates PodSecurity "restricted:latest": host namespaces'):
        stack.cluster.api.create(_pod(loose, template), dryRun="All")


def test_the_webhooks_are_asked(stack: Stack) -> None:
    """KEDA refuses a second scaler of one Deployment, and a least that is above the most."""
    stack.up(stacks.dev())
    scaled = stack.of_model("ScaledObject", "summarize")
    twin = {**scaled, "metadata": {**scaled["metadata"], "name": "twin"}}
    with pytest.raises(ApiError, match=r"the workload 'summarize' of type .* is already managed by the "):
        stack.cluster.api.apply(twin, MANAGER, dryRun="All")
    upside_down = {**scaled, "spec": {**scaled["spec"], "minReplicaCount": 9}}
    with pytest.raises(ApiError, match="minReplicaCount must be less than or equal to maxReplicaCount"):
        stack.cluster.api.apply(upside_down, MANAGER, dryRun="All")


def _not_the_same(stack: Stack, sent: Iterable[Manifest]) -> list[str]:
    """The objects that an update would change."""
    return [
        f"{each.object['kind']} {each.object['metadata']['name']}" for each in sent if _changes(stack, each)
    ]


def _changes(stack: Stack, manifest: Manifest) -> bool:
    """Whether an update makes another object of it, or, time and again, another version of the same object.

    Once a new version is the server's own affair: its notes of who applied when are sorted by time.
    """
    for _ in range(2):
        live, answer = _updated(stack, manifest)
        if _content(answer.object) != _content(live):
            return True
        if answer.version == live["metadata"]["resourceVersion"]:
            return False
    return True


def _updated(stack: Stack, manifest: Manifest) -> tuple[Object, Answer]:
    """An update of the very version that is given back with the answer; controllers write all the while."""
    while True:
        live = stack.cluster.api.get(manifest.object)
        sent = manifest.update_of(live)
        metadata = {**sent["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
        try:
            return live, stack.cluster.api.apply({**sent, "metadata": metadata}, MANAGER)
        except ApiError as error:
            if "the object has been modified" not in error.message:
                raise


def _content(found: Object) -> Object:
    notes = {"managedFields", "resourceVersion"}
    return {**found, "metadata": {key: each for key, each in found["metadata"].items() if key not in notes}}


def _pod_of(found: Object) -> Object | None:
    """A pod of an object's template, where it has one."""
    spec = found.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return _pod(found, template) if template else None


def _pod(owner: Object, template: Object) -> Object:
    pod = reference("v1", "Pod", namespace=owner["metadata"]["namespace"])
    pod["metadata"] |= {**template["metadata"], "generateName": f"{owner['metadata']['name']}-"}
    return {**pod, "spec": template["spec"]}
