"""What a message says: which document, in which version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from runtime.worker.failures import DocumentFailure


@dataclass(frozen=True, slots=True)
class DocumentReference:
    """A document as a message names it.

    Attributes:
        bucket: S3 bucket.
        key: object key, as S3 has it.
        version: version id, or None in a bucket without versions.
        etag: ETag of the content, empty where the message does not tell.
    """

    bucket: str
    key: str
    version: str | None
    etag: str


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    etag: str = ""
    version: str | None = Field(default=None, alias="version-id")


class _Detail(BaseModel):
    bucket: _Bucket
    object: _Object


class _ObjectCreated(BaseModel):
    """EventBridge's event for a new object (S3 user guide, "EventBridge event message structure")."""

    source: Literal["aws.s3"]
    detail_type: Literal["Object Created"] = Field(alias="detail-type")
    detail: _Detail


def parse(body: str) -> DocumentReference:
    """Reads a message's body.

    Raises:
        DocumentFailure: `unreadable_message`, when the body is of no form that is understood.
    """
    try:
        detail = _ObjectCreated.model_validate_json(body).detail
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()
        )
        raise DocumentFailure(
            "unreadable_message", f"the message is no S3 event by EventBridge ({found})"
        ) from None
    # "null" is how S3 names the version of an object that was put while versioning was off.
    version = None if detail.object.version == "null" else detail.object.version
    return DocumentReference(detail.bucket.name, detail.object.key, version, detail.object.etag.strip('"'))
