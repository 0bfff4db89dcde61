"""Documents: fetched from S3 and read as text."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from runtime.spec import DocumentType
from runtime.worker.aws import AwsFailure, call
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

    from runtime.worker.messages import DocumentReference

GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""S3's codes for a version that is not there; the last is its answer to a delete marker."""

_TYPES = mimetypes.MimeTypes()
for _type, _suffix in (
    ("text/markdown", ".md"),
    ("text/markdown", ".markdown"),
    ("application/x-subrip", ".srt"),
    ("text/vtt", ".vtt"),
):
    _TYPES.add_type(_type, _suffix)


@dataclass(frozen=True, slots=True)
class Document:
    """A document's bytes and what S3 says of them.

    Attributes:
        content: the bytes.
        content_type: as declared at the upload, with parameters.
        version: what tells this content from any other under the key: version id, else ETag.
    """

    content: bytes
    content_type: str
    version: str


async def fetch(s3: S3Client, reference: DocumentReference, max_bytes: int) -> Document:
    """Reads exactly the version that the message names.

    Raises:
        DocumentFailure: `gone` or `too_large`.
        AwsFailure: for whatever else S3 answers.
    """
    which: GetObjectRequestTypeDef = {"Bucket": reference.bucket, "Key": reference.key}
    if reference.version:
        which["VersionId"] = reference.version
    try:
        answer = await call(s3.get_object, **which)
    except AwsFailure as error:
        if error.code in GONE:
            raise DocumentFailure(
                "gone", "the document was superseded or deleted before it was read"
            ) from error
        raise
    size = answer["ContentLength"]
    if size > max_bytes:
        answer["Body"].close()
        raise DocumentFailure("too_large", f"the document has {size} bytes; a text may have {max_bytes}")
    content = await call(answer["Body"].read)
    found = answer.get("VersionId")
    return Document(
        content=content,
        content_type=answer.get("ContentType", ""),
        version=found if found and found != "null" else answer["ETag"].strip('"'),
    )


def type_of(key: str, content_type: str) -> str:
    """The document's type: as declared, or by the name where the declaration says nothing of use."""
    declared = content_type.partition(";")[0].strip().lower()
    if declared in get_args(DocumentType) and declared != "text/plain":
        return declared
    by_name, compression = _TYPES.guess_type(key.rpartition("/")[2], strict=False)
    return by_name if by_name and not compression else declared


def read(document: Document, key: str, accepts: Sequence[str]) -> str:
    """The document's text.

    Raises:
        DocumentFailure: `unsupported`, `undecodable` or `empty`.
    """
    kind = type_of(key, document.content_type)
    if kind not in accepts:
        raise DocumentFailure(
            "unsupported",
            f"the document is {kind or 'of unknown type'}; this model accepts {', '.join(accepts)}",
        )
    try:
        text = document.content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DocumentFailure(
            "undecodable", f"byte {error.start} is not UTF-8 ({error.reason}); upload the document as UTF-8"
        ) from None
    if "\0" in text:
        at = document.content.index(0)
        raise DocumentFailure("undecodable", f"byte {at} is 0, as in UTF-16; upload the document as UTF-8")
    if not text.strip():
        raise DocumentFailure("empty", "there is nothing in the document but white space")
    return text
