"""What `encryptionKey` and `expireDays` may say."""

from __future__ import annotations

import pytest

from components.problems import SettingsError
from components.settings import Settings, parse

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def _parse(**changes: object) -> Settings:
    return parse({"image": "registry.test/i:1", "models": [{"name": "a", "from": "tiny"}], **changes})


@pytest.mark.parametrize(
    "key",
    [
        "create",
        KEY,
        KEY.replace("arn:aws:", "arn:aws-cn:"),
        KEY.replace("1234abcd-12ab-34cd-56ef-1234567890ab", "mrk-1234abcd12ab34cd56ef1234567890ab"),
    ],
)
def test_a_key_is_made_or_named_by_its_arn(key: str) -> None:
    """In any partition, and one of several regions too."""
    assert _parse(encryptionKey=key).encryption_key == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "Create",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "alias/aws/sqs",
        "arn:aws:kms:eu-central-1:123456789012:alias/ours",
        f"{KEY} ",
        f"{KEY}/",
    ],
)
def test_anything_else_is_no_key(key: str) -> None:
    """An alias neither: roles are given their rights by the key's own ARN."""
    with pytest.raises(SettingsError) as caught:
        _parse(encryptionKey=key)
    (problem,) = caught.value.problems
    assert problem.startswith("encryptionKey: given ")
    assert problem.endswith(
        ": must be create, or the ARN of a key, such as "
        "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab; "
        "IAM policies know no aliases"
    )


def test_nothing_expires_and_no_key_is_there_by_default() -> None:
    """Both are asked for or not there."""
    settings = _parse()
    assert (settings.encryption_key, settings.expire_days) == (None, None)


def test_things_live_for_a_day_at_least() -> None:
    """S3 counts in whole days."""
    assert _parse(expireDays=1).expire_days == 1
    with pytest.raises(SettingsError) as caught:
        _parse(expireDays=0)
    assert caught.value.problems == ("expireDays: given 0: input should be greater than or equal to 1",)
