"""Documents leave S3 here, as streams: whatever their size, memory holds one chunk of each."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from runtime.worker.aws import AwsFailure, call
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from typing import BinaryIO

    from botocore.response import StreamingBody
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

    from runtime.spec import TaskSpec
    from runtime.worker.aws import Aws
    from runtime.worker.messages import Job

GONE = frozenset({"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"})
"""S3's codes for a version that is not there; the last is its answer to a delete marker."""

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as S3 gave it.

    Attributes:
        file: its bytes, positioned at 0: a file with a descriptor, unbuffered, that has no name.
        size: how many bytes.
        declared: its content type as declared at the upload, with parameters.
        version: what tells this content from any other under the key: version id, else ETag.
    """

    file: BinaryIO
    size: int
    declared: str
    version: str

    def close(self) -> None:
        """Gives the bytes up."""
        self.file.close()


class Documents:
    """The documents of one task, in S3."""

    def __init__(self, aws: Aws, task: TaskSpec) -> None:
        self._s3 = aws.s3
        self._limit = max(task.max_text_bytes, task.max_file_bytes)

    async def fetch(self, reference: Job) -> Fetched:
        """Reads exactly the version that the message names.

        Raises:
            DocumentFailure: `gone` or `too_large`.
            AwsFailure: for whatever else S3 answers, and for a body that does not come whole.
        """
        which: GetObjectRequestTypeDef = {"Bucket": reference.bucket, "Key": reference.key}
        if reference.version:
            which["VersionId"] = reference.version
        try:
            answer = await call(self._s3.get_object, **which)
        except AwsFailure as error:
            if error.code in GONE:
                raise DocumentFailure(
                    "gone", "the document was superseded or deleted before it was read"
                ) from error
            raise
        size, version = answer["ContentLength"], answer.get("VersionId")
        abandoned = threading.Event()
        try:
            file = await call(_copy, answer["Body"], size, self._limit, abandoned)
        finally:
            # The thread cannot be cancelled, nor what it reads be closed: that waits for the thread.
            abandoned.set()
        return Fetched(
            file=file,
            size=size,
            declared=answer.get("ContentType", ""),
            version=version if version and version != "null" else answer["ETag"].strip('"'),
        )


def _copy(body: StreamingBody, size: int, limit: int, abandoned: threading.Event) -> BinaryIO:
    """Copies all of the body, which it closes, to a file that has no name."""
    # Unbuffered: a child process that reads it moves the one position that there is.
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  its caller's to close
    try:
        _fill(file, body, size, limit, abandoned)
    except BaseException:
        file.close()
        raise
    finally:
        body.close()
    return file


def _fill(file: BinaryIO, body: StreamingBody, size: int, limit: int, abandoned: threading.Event) -> None:
    if size > limit:
        raise _too_large(size, limit)
    written = 0
    try:
        while not abandoned.is_set() and (chunk := body.read(CHUNK_BYTES)):
            written += file.write(chunk)
            if written > limit:
                break
        file.seek(0)
    except (HTTPError, OSError) as error:
        raise AwsFailure("get_object", "", f"the body broke off at byte {written}: {error}") from error
    if written > limit:
        raise _too_large(written, limit)
    if written != size:
        raise AwsFailure("get_object", "", f"the body has {written} bytes of {size}")


def _too_large(size: int, limit: int) -> DocumentFailure:
    return DocumentFailure("too_large", f"the document has {size} bytes; {limit} are the most of any type")
