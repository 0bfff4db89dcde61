"""What KEDA is told of a model, and that the manual's table says the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from components import sections
from components.problems import SettingsError
from components.scaling import annotations_of, scaled_object
from components.settings import Settings, parse

MANUAL = Path(__file__).parent.parent.parent / "docs" / "scaling.md"
PAUSED = "autoscaling.keda.sh/paused-replicas"
OFFICE = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "instances": 1}
NONE = "-"


@pytest.fixture(autouse=True)
def _time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, whatever this machine knows."""
    monkeypatch.setattr(sections, "_zones", lambda: ("Europe/Berlin", "UTC"))


def _settings(model: dict[str, object], **stack: object) -> Settings:
    return parse({"image": "i:1", "models": [{"name": "a", "from": "tiny", **model}], **stack})


def _window(**changes: object) -> dict[str, object]:
    return {"maxInstances": 5, "schedule": [{**OFFICE, **changes}]}


def _problems(model: dict[str, object]) -> tuple[str, ...]:
    try:
        _settings(model)
    except SettingsError as error:
        return error.problems
    return ()


def _spec(settings: Settings) -> dict[str, Any]:
    return cast(
        "dict[str, Any]",
        scaled_object(settings.models[0], settings, deployment="a", queue_url="https://q", region="r"),
    )


def _rows() -> list[list[str]]:
    """The cells of the manual's first table."""
    lines = [line for line in MANUAL.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    width = len(rows[0])
    return [row for row in rows[2:] if len(row) == width]


def _numbers(cell: str) -> list[int]:
    return [] if cell == NONE else [int(number) for number in cell.split(",")]


def _cell(numbers: list[Any]) -> str:
    return ", ".join(map(str, numbers)) or NONE


@pytest.mark.parametrize("row", _rows(), ids=" ".join)
def test_the_manuals_table_is_what_keda_is_told(row: list[str]) -> None:
    """Each row's config gives its four middle cells, and by KEDA's rules of them its last three."""
    least, most, windows = int(row[0]), int(row[1]), _numbers(row[2])
    schedule = [{**OFFICE, "instances": instances} for instances in windows]
    settings = _settings({"minInstances": least, "maxInstances": most, "schedule": schedule})
    spec, annotations = _spec(settings), annotations_of(settings.models[0], settings)
    cron = [trigger["metadata"]["desiredReplicas"] for trigger in spec["triggers"][1:]]
    told = [annotations.get(PAUSED, NONE), spec["minReplicaCount"], spec["maxReplicaCount"], _cell(cron)]
    floor, ceiling = spec["minReplicaCount"], spec["maxReplicaCount"]
    pods = [floor, max(floor, *map(int, cron), 0), ceiling]
    if annotations:
        pods = [int(annotations[PAUSED])] * 3
    assert [*map(str, told), *map(str, pods)] == row[3:]


def test_the_manuals_table_has_every_case() -> None:
    """Each of the three keys, used and not, with each of the others."""
    found = {(row[0] != "0", row[1] != "0", row[2] != NONE) for row in _rows()}
    assert len(found) == 8


def test_a_scaled_object_is_exactly_this() -> None:
    """The stack's times, and those of its own that a model names; up at once, down one by one."""
    model = {
        "maxInstances": 4,
        "parallel": 2,
        "scaling": {"pollSeconds": 5, "scaleDownPeriodSeconds": 30},
        "schedule": [{**OFFICE, "instances": 2}],
    }
    assert _spec(_settings(model, scaling={"pollSeconds": 20, "cooldownSeconds": 700})) == {
        "scaleTargetRef": {"name": "a"},
        "minReplicaCount": 0,
        "maxReplicaCount": 4,
        "pollingInterval": 5,
        "cooldownPeriod": 700,
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
                    },
                    "scaleDown": {
                        "stabilizationWindowSeconds": 30,
                        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}],
                    },
                }
            }
        },
        "triggers": [
            {
                "type": "aws-sqs-queue",
                "metadata": {
                    "queueURL": "https://q",
                    "queueLength": "10",
                    "scaleOnInFlight": "true",
                    "awsRegion": "r",
                },
                "authenticationRef": {"name": "aws-pod-identity", "kind": "ClusterTriggerAuthentication"},
            },
            {
                "type": "cron",
                "metadata": {
                    "timezone": "Europe/Berlin",
                    "start": "0 8 * * 1-5",
                    "end": "0 18 * * 1-5",
                    "desiredReplicas": "2",
                },
            },
        ],
    }


def test_a_model_that_never_sleeps_is_told_nothing_of_sleep() -> None:
    """KEDA warns of times that have no meaning where there is always a pod."""
    awake = _spec(_settings({"minInstances": 1}))
    assert awake["minReplicaCount"] == 1
    assert _spec(_settings({})).keys() - awake.keys() == {"pollingInterval", "cooldownPeriod"}


def test_a_model_without_times_of_its_own_has_the_stacks() -> None:
    """All three keys, and a null is no value."""
    stack = {"pollSeconds": 1, "cooldownSeconds": 2, "scaleDownPeriodSeconds": 3}
    settings = _settings({"scaling": {"cooldownSeconds": None}}, scaling=stack)
    assert settings.scaling_of(settings.models[0]) == settings.scaling
    assert settings.scaling.model_dump(by_alias=True) == stack


CRON = "must be five fields, minute, hour, day of the month, month and day of the week"


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (_window(start="8:00"), f'schedule[0].start: given "8:00": {CRON}'),
        (_window(end="0 18 * * 7"), "schedule[0].end: given \"0 18 * * 7\": its day of the week is '7'"),
        (
            _window(end="0 08 ? * mon-fri"),
            'schedule[0].end: given "0 08 ? * mon-fri": is the time at which the window starts; it has to',
        ),
        (
            _window(timezone="Europe/Berln"),
            (
                'schedule[0].timezone: given "Europe/Berln": is no time zone of the IANA database, such as '
                "Europe/Berlin; did you mean Europe/Berlin?"
            ),
        ),
        (_window(instances=0), "schedule[0].instances: given 0: input should be greater than or equal to 1"),
        (
            _window(instances=6),
            "schedule[0].instances: given 6: is over maxInstances (5); ask for fewer, or raise that",
        ),
        ({"schedule": [{}]}, "schedule[0].start: is required"),
        (
            {"minInstances": 2, "maxInstances": 1},
            "minInstances: given 2: is over maxInstances (1); ask for fewer, or raise that",
        ),
        (_window(zone="UTC"), "schedule[0].zone: is not a key; did you mean timezone?"),
    ],
)
def test_a_schedule_that_keda_could_not_keep_is_refused(model: dict[str, object], problem: str) -> None:
    """With its place in the list, before anything is deployed."""
    found = _problems(model)
    assert re.sub(r"^models\[0\]\.", "", found[0]).startswith(problem)


def test_the_stacks_ceiling_binds_too() -> None:
    """A model without a ceiling of its own has the stack's, and every window over it is named."""
    schedule = [{**OFFICE, "instances": instances} for instances in (6, 5, 7)]
    over = "is over maxInstances (5); ask for fewer, or raise that"
    assert _problems({"schedule": schedule}) == (
        f"models[0].schedule[0].instances: given 6: {over}",
        f"models[0].schedule[2].instances: given 7: {over}",
    )


def test_a_machine_without_time_zones_believes_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot tell a good one from a bad one; an unknown one then shows in the ScaledObject."""
    monkeypatch.setattr(sections, "_zones", tuple)
    assert _problems(_window(timezone="Europe/Berln")) == ()
