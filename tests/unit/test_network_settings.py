"""The config of the network: which VPC, which way out, and what has to lie inside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from components.problems import SettingsError
from components.settings import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

VPC = "vpc-0123456789abcdef0"
A, B, C = "subnet-0123456789abcdefa", "subnet-0123456b", "subnet-0123456c"
EXISTING = {"vpcId": VPC, "subnetIds": [A, B]}
ALONE = "`existing` stands alone; leave out cidr, zones and egress, which are its own"
VPC_ID = "must be the id of a VPC, such as vpc-0123456789abcdef0"
SUBNET_IDS = "must be the ids of two or more subnets, one a zone, such as subnet-0123456789abcdef0"
MIRROR = "`egress: endpoints` reaches no public registry; set `mirror: true` (docs/mirror.md)"


def _config(network: Mapping[str, Any], *models: Mapping[str, Any], mirror: bool = True) -> dict[str, Any]:
    """A config that is good but for what is given."""
    listed = models or ({"modelfile": "FROM s3://weights/tiny.gguf"},)
    named = [{"name": f"model-{number}", **model} for number, model in enumerate(listed)]
    return {"image": "registry.test/ollama-eks:1", "mirror": mirror, "network": network, "models": named}


def _problems(config: Mapping[str, object]) -> tuple[str, ...]:
    try:
        parse(config)
    except SettingsError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("egress", "gateways"), [("nat", ("b",)), ("nat-per-zone", ("b", "a", "c")), ("endpoints", ())]
)
def test_the_way_out_says_where_gateways_are(egress: str, gateways: tuple[str, ...]) -> None:
    """In the first zone, in all of them, or nowhere."""
    network = parse(_config({"zones": ["b", "a", "c"], "egress": egress})).network
    assert network.gateway_zones == gateways


def test_there_is_no_other_way_out() -> None:
    """A slip is told with all that it could have been."""
    (problem,) = _problems(_config({"egress": "none"}))
    assert problem == ("network.egress: given \"none\": input should be 'nat', 'nat-per-zone' or 'endpoints'")


def test_an_existing_vpc_is_its_ids() -> None:
    """Of both lengths that EC2 has."""
    network = parse(_config({"existing": EXISTING})).network
    assert network.existing is not None
    assert network.existing.vpc_id == VPC
    assert network.existing.subnet_ids == (A, B)


@pytest.mark.parametrize(
    ("existing", "problems"),
    [
        ({"vpcId": "vpc-1"}, ['network.existing.vpcId: given "vpc-1": ' + VPC_ID]),
        ({"vpcId": f"{VPC}0"}, [f'network.existing.vpcId: given "{VPC}0": {VPC_ID}']),
        *(
            (
                {"subnetIds": given},
                [f"network.existing.subnetIds: given {json.dumps(given)}: {SUBNET_IDS}"],
            )
            for given in ([], [A], [B, B], [B, C, C], [B, C, "subnet-x"])
        ),
        ({"subnets": [A]}, ["network.existing.subnets: is not a key; did you mean subnetIds?"]),
    ],
)
def test_an_id_that_is_none_is_refused(existing: Mapping[str, Any], problems: list[str]) -> None:
    """Before AWS is asked."""
    assert [*_problems(_config({"existing": {**EXISTING, **existing}}))] == problems


@pytest.mark.parametrize("also", [{"cidr": "10.0.0.0/16"}, {"zones": ["a", "b"]}, {"egress": "nat"}])
def test_an_existing_vpc_has_its_own_range_zones_and_way_out(also: Mapping[str, Any]) -> None:
    """Whoever writes both believes that one of them changes the other."""
    (problem,) = _problems(_config({"existing": EXISTING, **also}))
    assert problem.startswith("network: given {")
    assert problem.endswith(f": {ALONE}")


@pytest.mark.parametrize("egress", ["nat", "nat-per-zone", "endpoints"])
@pytest.mark.parametrize("mirror", [True, False])
def test_without_the_internet_images_come_from_the_account(egress: str, *, mirror: bool) -> None:
    """Public registries are beyond it."""
    found = _problems(_config({"egress": egress}, mirror=mirror))
    refused = egress == "endpoints" and not mirror
    assert found == ((f'network: given {{"egress": "{egress}"}}: {MIRROR}',) if refused else ())


INSIDE = (
    {"modelfile": "FROM s3://weights/tiny.gguf"},
    {"modelfile": "FROM s3://weights/tiny/"},
    {"from": "http://10.1.2.3:5000/library/tiny"},
    {"from": "172.31.0.9/library/tiny:1b"},
    {"from": "192.168.0.1:443/library/tiny"},
    {"from": "https://registry.internal/library/tiny"},
    {"from": "models.eu-central-1.compute.internal:5000/library/tiny"},
    {"modelfile": "FROM 10.1.2.3/library/tiny\nPARAMETER num_ctx 512"},
)
OUTSIDE = {
    "tiny": "registry.ollama.ai",
    "me/tiny:1b": "registry.ollama.ai",
    "hf.co/me/tiny": "hf.co",
    "registry.internal.example.com/me/tiny": "registry.internal.example.com",
    "internal/tiny": "registry.ollama.ai",
    "8.8.8.8:5000/library/tiny": "8.8.8.8",
    "172.32.0.1/library/tiny": "172.32.0.1",
    "127.0.0.1:5000/library/tiny": "127.0.0.1",
    "169.254.1.1/library/tiny": "169.254.1.1",
}


def _reason(host: str) -> str:
    return (
        f"comes from {host}, which `egress: endpoints` does not reach; build it of files in S3 (s3://...), "
        "or name a registry in the VPC by its private address or by a name that ends in .internal"
    )


def test_without_the_internet_models_come_from_inside() -> None:
    """From S3, or from a registry whose address or name is private."""
    assert _problems(_config({"egress": "endpoints"}, *INSIDE)) == ()


def test_models_from_outside_are_named_together() -> None:
    """Each at its own key, whole or by its base, with the host that is out of reach."""
    models = [{"from": name} for name in OUTSIDE]
    base = {"modelfile": "FROM tiny\nSYSTEM short"}
    given = json.dumps(base["modelfile"])
    assert _problems(_config({"egress": "endpoints"}, *models, base)) == (
        *(
            f'models[{number}].from: given "{name}": {_reason(host)}'
            for number, (name, host) in enumerate(OUTSIDE.items())
        ),
        f"models[{len(models)}].modelfile: given {given}: {_reason('registry.ollama.ai')}",
    )


@pytest.mark.parametrize("network", [{"egress": "nat"}, {"egress": "nat-per-zone"}, {"existing": EXISTING}])
def test_with_a_way_out_models_come_from_anywhere(network: Mapping[str, Any]) -> None:
    """And what an existing VPC reaches is its owner's business."""
    assert _problems(_config(network, *({"from": name} for name in OUTSIDE))) == ()
