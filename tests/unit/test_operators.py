"""Config about the people who run a stack: who administers it, who is told, how long logs are kept."""

from __future__ import annotations

import pytest

from components import settings
from components.problems import SettingsError
from components.sections import Alerts

MODELS = [{"name": "one", "from": "tiny"}]
ROLE = "arn:aws:iam::123456789012:role/A"
SESSION = "arn:aws:sts::123456789012:assumed-role/A/ada"
NO_PRINCIPAL = (
    "must be the ARN of an IAM role or user, such as arn:aws:iam::123456789012:role/Operators; "
    "a session's ARN (sts, assumed-role) is not one"
)
DAYS = (
    "1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, "
    "3653, which CloudWatch Logs knows"
)


def _parse(**changes: object) -> settings.Settings:
    return settings.parse({"image": "an-image:1", "models": MODELS, **changes})


def test_by_default_there_is_nobody_but_the_deployer() -> None:
    """No other administrator, nobody who is told, and thirty days of logs."""
    parsed = _parse()
    assert (parsed.admins, parsed.alerts, parsed.log_retention_days) == ((), None, 30)


def test_what_is_given_is_taken() -> None:
    """Roles and users of every partition, with or without a path; a budget is not a must."""
    admins = [
        "arn:aws:iam::123456789012:role/Operators",
        "arn:aws-us-gov:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_1a",
        "arn:aws:iam::123456789012:user/ada@example.com",
    ]
    parsed = _parse(admins=admins, logRetentionDays="365", alerts={"email": "ada@example.com"})
    assert parsed.admins == tuple(admins)
    assert parsed.log_retention_days == 365
    assert parsed.alerts == Alerts.model_validate({"email": "ada@example.com", "monthlyBudget": None})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"admins": [SESSION]}, f'admins[0]: given "{SESSION}": {NO_PRINCIPAL}'),
        ({"admins": [ROLE, ROLE]}, f'admins: given ["{ROLE}", "{ROLE[:22]} ...: names {ROLE} more than once'),
        ({"logRetentionDays": 31}, f"logRetentionDays: given 31: must be one of {DAYS}"),
        (
            {"alerts": {"email": "ada"}},
            'alerts.email: given "ada": must be one e-mail address, such as operators@example.com',
        ),
        ({"alerts": {"monthlyBudget": 500}}, "alerts.email: is required"),
        (
            {"alerts": {"email": "ada@example.com", "monthlyBudget": 0}},
            "alerts.monthlyBudget: given 0: input should be greater than or equal to 1",
        ),
        (
            {"alerts": {"email": "ada@example.com", "monthlybudget": 5}},
            "alerts.monthlybudget: is not a key; did you mean monthlyBudget?",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, object], problem: str) -> None:
    """Where, what was given, and what would be right."""
    with pytest.raises(SettingsError) as caught:
        _parse(**changes)
    assert caught.value.problems == (problem,)
