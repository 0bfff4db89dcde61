"""What a message says: which documents, in which version, and how they are to be answered. Pure.

Understood are S3's events by EventBridge (S3 user guide, "EventBridge event message structure"), S3's own
notifications ("Event message structure") and the job message `{document, inputs?, sampling?, deadline?}`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote_plus

from pydantic import AfterValidator as After
from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from runtime.spec import Sampling
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PROBLEMS = 20
"""So many are named: a large message may have more of them than an attribute of its dead letter takes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One document to answer, as a message asks for it.

    Attributes:
        bucket: S3 bucket.
        key: object key as S3 has it, decoded.
        version: version id to ask S3 for; None where the message names none, or S3's "null".
        etag: ETag of the content without quotes, empty where the message does not tell.
        inputs: what the prompt's placeholders stand for.
        sampling: only what is to differ from the task's options.
        deadline: when the answer is of no use any more, in UTC.
    """

    bucket: str
    key: str
    version: str | None
    etag: str
    inputs: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue], hash=False)
    sampling: Sampling = field(default_factory=Sampling)
    deadline: datetime | None = None

    @property
    def variation(self) -> str:
        """What tells it from others of its document: 64 hex digits over inputs and sampling, "" without."""
        asked = self._asked()
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest() if asked else ""

    def body(self) -> str:
        """The job as a job message: `parse(job.body()) == (job,)`."""
        named = {"bucket": self.bucket, "key": self.key, "version": self.version, "etag": self.etag}
        document = {name: value for name, value in named.items() if value}
        deadline = {"deadline": self.deadline.isoformat()} if self.deadline else {}
        # In ASCII, since SQS refuses some control characters that a key may contain.
        return json.dumps({"document": document, **self._asked(), **deadline})

    def _asked(self) -> dict[str, object]:
        asked = {"inputs": dict(self.inputs), "sampling": self.sampling.model_dump(exclude_none=True)}
        return {name: value for name, value in asked.items() if value}


def parse(body: str) -> tuple[Job, ...]:
    """The jobs that a message asks for: none for `s3:TestEvent`, for folder markers and for removals.

    Raises:
        DocumentFailure: `unreadable_message`, with all that is wrong in it and no value of its own.
    """
    try:
        content: JsonValue = json.loads(body, object_pairs_hook=_once)
        # Python reads what is no JSON, and cannot write it again: NaN, Infinity, halves of characters.
        text = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise DocumentFailure("unreadable_message", f"the message is no JSON: {error}") from None
    given = content if isinstance(content, dict) else {}
    for sign, (name, form) in _FORMS.items():
        if sign in given:
            try:
                return form.model_validate_json(text, strict=True).jobs()
            except ValidationError as error:
                found = "; ".join(_problems(error))
            raise DocumentFailure("unreadable_message", f"the message is no {name} ({found})")
    if given.get("Event") == "s3:TestEvent":
        return ()
    known = ", ".join(f"no {name} (which has `{sign}`)" for sign, (name, _) in _FORMS.items())
    raise DocumentFailure("unreadable_message", f"the message is {known}")


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """An object whose every field is given once; of two, nobody knows which was meant."""
    if len(fields := dict(pairs)) < len(pairs):
        raise ValueError("an object has a field twice")
    return fields


def _problems(error: ValidationError) -> list[str]:
    """Each problem as `path: sentence`; of what was given only field names, escaped and cut."""
    problems: list[str] = []
    for item in error.errors(include_url=False, include_input=False):
        sentence = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            sentence = _NO_SAMPLING if item["loc"][0] == "sampling" else "there is no such field"
        path = ".".join(repr(str(part))[1:-1][:60] for part in item["loc"]) or "body"
        problems.append(f"{path}: {sentence}")
    more = [f"and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
    return problems[:MAX_PROBLEMS] + more


_NO_SAMPLING = (
    f"a document may vary nothing but {', '.join(Sampling.model_fields)}; "
    "runner options such as num_ctx would reload the model under the other documents"
)


def _object(document: object) -> object:
    """`s3://bucket/key` as an object; the key is taken literally."""
    if not isinstance(document, str):
        return document
    bucket, _, key = document.removeprefix("s3://").partition("/")
    if not document.startswith("s3://") or not bucket or not key:
        raise ValueError("should be s3://bucket/key or an object with bucket, key, version and etag")
    return {"bucket": bucket, "key": key}


def _utc(deadline: object) -> datetime:
    """A time as text; of a bare number nobody knows the unit, of a time without offset the place."""
    try:
        given = datetime.fromisoformat(deadline if isinstance(deadline, str) else "")
        if given.tzinfo is not None:
            return given.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # no time at all, or in UTC none of the years 1 to 9999
    raise ValueError("should be ISO 8601 text with an offset, such as 2031-05-09T16:00:00Z")


def _created(detail_type: str) -> str:
    if detail_type != "Object Created":
        raise ValueError(f"should be 'Object Created', {detail_type!r:.60} asks for no answer")
    return detail_type


_Text = Annotated[str, Field(min_length=1)]
# "null" is how S3 names the version of an object that was put while versioning was off.
_Version = Annotated[str | None, After(lambda version: None if version in {"", "null"} else version)]
_Etag = Annotated[str, After(lambda etag: etag.strip('"'))]
# What is no UTF-8 is refused: a key with replacement characters would be another document's.
_UrlEncoded = Annotated[_Text, After(lambda key: unquote_plus(key, errors="strict"))]


class _Event(BaseModel):
    """An S3 event by EventBridge, whatever its `reason`: put, post, copy or multipart."""

    source: Literal["aws.s3"]
    detail_type: Annotated[str, After(_created)] = Field(alias="detail-type")
    bucket: _Text = Field(validation_alias=AliasPath("detail", "bucket", "name"))
    key: _Text = Field(validation_alias=AliasPath("detail", "object", "key"))
    version: _Version = Field(default=None, validation_alias=AliasPath("detail", "object", "version-id"))
    etag: _Etag = Field(default="", validation_alias=AliasPath("detail", "object", "etag"))
    size: int | None = Field(default=None, validation_alias=AliasPath("detail", "object", "size"))

    def jobs(self) -> tuple[Job, ...]:
        return _uploaded(self)


class _Record(BaseModel):
    source: Literal["aws:s3"] = Field(alias="eventSource")
    event: str = Field(alias="eventName")
    bucket: _Text = Field(validation_alias=AliasPath("s3", "bucket", "name"))
    key: _UrlEncoded = Field(validation_alias=AliasPath("s3", "object", "key"))
    version: _Version = Field(default=None, validation_alias=AliasPath("s3", "object", "versionId"))
    etag: _Etag = Field(default="", validation_alias=AliasPath("s3", "object", "eTag"))
    size: int | None = Field(default=None, validation_alias=AliasPath("s3", "object", "size"))


class _Notification(BaseModel):
    """An S3 notification. One of a removal, a restore or a tag asks for nothing, so it is ignored."""

    records: list[_Record] = Field(alias="Records", min_length=1)

    def jobs(self) -> tuple[Job, ...]:
        created = (r for r in self.records if r.event.removeprefix("s3:").startswith("ObjectCreated:"))
        return tuple(job for record in created for job in _uploaded(record))


def _uploaded(given: _Event | _Record) -> tuple[Job, ...]:
    # An empty object whose key ends so is how consoles draw a folder.
    if given.key.endswith("/") and given.size == 0:
        return ()
    return (Job(given.bucket, given.key, given.version, given.etag),)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")
    bucket: _Text
    key: _Text
    version: _Version = None
    etag: _Etag = ""


class _Message(BaseModel):
    """A job message: people write it, so a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")
    document: Annotated[_Document, BeforeValidator(_object)]
    inputs: dict[str, JsonValue] | None = None
    sampling: Sampling | None = None
    deadline: Annotated[datetime, BeforeValidator(_utc)] | None = None

    def jobs(self) -> tuple[Job, ...]:
        asked = (self.inputs or {}, self.sampling or Sampling(), self.deadline)
        given = self.document
        return (Job(given.bucket, given.key, given.version, given.etag, *asked),)


_FORMS: dict[str, tuple[str, type[_Event | _Notification | _Message]]] = {
    "detail-type": ("S3 event by EventBridge", _Event),
    "Records": ("S3 notification", _Notification),
    "document": ("job message", _Message),
}
