"""The table of instance types against a copy of what EC2 says of them."""

from __future__ import annotations

import gzip
import json
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import pytest

from components.instances import INSTANCES, SOURCE, UNUSABLE, Instance, unusable


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """EC2's DescribeInstanceTypes by type, as the AWS emulator's package ships it."""
    shipped = files("moto") / "ec2" / "resources" / "instance_types.json.gz"
    return json.loads(gzip.decompress(shipped.read_bytes()))


@pytest.mark.parametrize("name", INSTANCES)
def test_every_row_is_what_ec2_says(described: dict[str, Any], name: str) -> None:
    """Virtual CPUs, memory and GPUs are those of the API's answer, each to the unit."""
    row = described[name]
    gpus = row.get("GpuInfo", {}).get("Gpus", [])
    card = gpus[0] if gpus else {"Count": 0, "Name": "", "MemoryInfo": {"SizeInMiB": 0}}
    assert len(gpus) <= 1
    assert INSTANCES[name] == Instance(
        vcpus=row["VCpuInfo"]["DefaultVCpus"],
        memory_mib=row["MemoryInfo"]["SizeInMiB"],
        gpus=card["Count"],
        gpu=card["Name"],
        gpu_memory_mib=card["MemoryInfo"]["SizeInMiB"],
    )


def test_the_source_is_the_package_that_is_installed() -> None:
    """Its name and version stand in the source."""
    assert f"moto {version('moto')}" in SOURCE.what


def test_what_is_left_out_is_left_out_for_its_reason(described: dict[str, Any]) -> None:
    """Every type of an unusable family has Arm processors alone, or no whole GPU; none is in the table."""
    for name, row in described.items():
        if unusable(name):
            assert name not in INSTANCES
            arm = row["ProcessorInfo"]["SupportedArchitectures"] == ["arm64"]
            fraction = row["GpuInfo"]["Gpus"][0]["Count"] == 0
            assert (arm, fraction) == (name.startswith("g5g."), "6f." in name)
    assert {name.partition(".")[0] for name in described if unusable(name)} == set(UNUSABLE)
    assert [name for name in INSTANCES if unusable(name)] == []
