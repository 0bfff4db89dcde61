"""Whole documents of every type: what a model is given of them, and why it is given none."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, get_args

import pypdfium2  # pyright: ignore[reportMissingTypeStubs]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.spec import DocumentType
from runtime.worker.documents.parser import MAX_PAGES_SEEN
from runtime.worker.failures import DocumentFailure

if TYPE_CHECKING:
    from tests.unit.documents.conftest import Reader


def _image(form: str, size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 50).save(stream, form)
    return stream.getvalue()


PNG, JPEG = _image("PNG"), _image("JPEG")

PNG_TOO_LARGE = f"the document has {len(PNG)} bytes; as image/png it may have 9"
TOO_MANY = (
    "21 pages of the PDF have no text, of which 20 can be given as images; "
    "put text behind them by OCR, or split it"
)


def _pdf(*pages: str | None, encrypted: bool = False) -> bytes:
    """A PDF of pages with a text, with nothing (""), or with a drawing alone (None)."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids: list[str] = []
    for page in pages:
        stream = (
            "0 0 100 100 re f" if page is None else f"BT /F 12 Tf 20 20 Td ({page}) Tj ET" if page else ""
        )
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Resources<</Font<</F 3 0 R>>>>"
            f"/Contents {len(objects) + 2} 0 R>>"
        )
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    objects[1] = f"<</Type/Pages/Count {len(pages)}/Kids[{' '.join(kids)}]>>"
    body, offsets = "%PDF-1.4\n", list[int]()
    for number, item in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj{item}endobj\n"
    key = "x" * 32
    lock = f"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O({key})/U({key})>>/ID[(a)(a)]"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer<</Size {size}/Root 1 0 R{lock if encrypted else ''}>>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


@pytest.mark.parametrize("suffix", ["txt", "md", "csv", "json", "srt", "vtt"])
@pytest.mark.parametrize(
    "text",
    [
        '{"b": 1,\r\n "a": [1.10, "ü", 1]}',
        'a;b\r\n"1\n2";\u20ac\n\n',
        "1\n00:00:01,000 --> 00:00:02,000\nü",
    ],
)
async def test_texts_are_kept_intact(reader: Reader, suffix: str, text: str) -> None:
    """JSON, CSV, subtitles and the rest reach the model as they are, valid or not, but for their charset."""
    for content, charset in ((text.encode(), "utf-8"), (text.encode("utf-16"), "utf-16")):
        found = await reader(content, f"a/b.{suffix}")
        assert (found.text, found.charset, found.images, found.pages) == (text, charset, (), 0)


PAGE = """<!DOCTYPE html><html><head><meta charset=latin-1><title>Title</title><style>p { color: red }</style>
<script>var secret = "<p>no</p>";</script></head><body><!-- comment --><template><p>template</p></template>
<h1>Gr&uuml;ße</h1><p>Words of <b>weight</b> &amp; a <a href="https://example.org/">link</a>.<br>Next line</p>
<ul><li>one<li>two</ul><p hidden>hidden</p><p style="display:none">none</p>
<img alt="a cat" src="data:image/png;base64,AAAA"><table><tr><th>A<th>B<tr><td>1<td>2</table></body></html>"""


async def test_a_page_is_read_as_a_reader_sees_it(reader: Reader) -> None:
    """Headings, lists, links and tables as Markdown; no scripts, styles, comments or hidden parts."""
    found = await reader(PAGE.encode("latin-1"), "a/b.html")
    assert found.charset == "cp1252"
    assert found.text == (
        "# Grüße\n\nWords of **weight** & a [link](https://example.org/).  \nNext line\n\n- one\n- two\n\n"
        "a cat\n\n| A | B |\n| --- | --- |\n| 1 | 2 |\n"
    )


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<div>" * 10_000 + "deep &amp; down<script>no</script>", "deep & down"),
        ("<b>x" * 2000, "\n".join("x" * 2000)),
        ("<p>a<b>b</i></p></p></div><<", "a**b**\n\n**<<**\n"),
        ("no page < at all", "no page < at all\n"),
    ],
    ids=["deep", "never closed", "broken", "no tags"],
)
async def test_a_page_that_is_deep_or_broken_is_read(reader: Reader, page: str, text: str) -> None:
    """What no tree can be made of is read as its words: nothing is left out in silence."""
    assert (await reader(page.encode(), "a/b.html")).text == text


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "a/b.txt"),
        (b"", "a/b.png"),
        (b" \t\r\n", "a/b.csv"),
        (b"\xef\xbb\xbf", "a/b.md"),
        ("\u00a0\u2003".encode(), "a/b.txt"),
        (b"<html><script>var x</script><p hidden>x</p>", "a/b.html"),
        (_pdf("", ""), "a/b.pdf"),
    ],
)
async def test_nothing_is_refused_as_empty(reader: Reader, content: bytes, key: str) -> None:
    """No GPU is woken to answer an empty page."""
    with pytest.raises(DocumentFailure) as caught:
        await reader(content, key)
    assert caught.value.reason == "empty"


@pytest.mark.parametrize(
    ("content", "key", "declared", "decision"),
    [
        (PNG, "a/b.png", "", ("image/png", "name")),
        (PNG, "a/b.txt", "text/plain", ("image/png", "content")),
        (JPEG, "a/b", "image/jpg", ("image/jpeg", "declared")),
    ],
)
async def test_an_image_stays_a_file(
    reader: Reader, content: bytes, key: str, declared: str, decision: tuple[str, str]
) -> None:
    """It is given byte for byte, and outlives what it was fetched in."""
    found = await reader(content, key, declared)
    assert (found.type, found.decided_by) == decision
    assert (found.charset, found.text, found.pages) == ("", "", 0)
    assert [(image.size, image.file.read()) for image in found.images] == [(len(content), content)]


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (PNG[:-12], "a.png"),
        (PNG[: len(PNG) // 2], "a.png"),
        (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "a.png"),
        (PNG[:40], "a.png"),
        (JPEG[: len(JPEG) // 2], "a.jpg"),
        (b"\xff\xd8\xff\xe0", "a.jpg"),
        (b"Access denied", "a.png"),
        (b"%PDF-1.4\nrubbish", "a.pdf"),
        (_pdf("text")[:200], "a.pdf"),
        (b"Access denied", "a.pdf"),
        (_pdf("secret", encrypted=True), "a.pdf"),
    ],
)
async def test_a_damaged_file_is_refused(reader: Reader, content: bytes, key: str) -> None:
    """What is cut off, changed, encrypted or something else is no reason to wake a GPU."""
    with pytest.raises(DocumentFailure) as caught:
        await reader(content, key)
    assert caught.value.reason == "damaged"


async def test_an_image_of_absurd_size_is_refused(reader: Reader) -> None:
    """Its dimensions are read before it is decoded."""
    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "PNG")
    with pytest.raises(
        DocumentFailure, match=r"^too_large: the image has 30000 x 30000 pixels; 64000000 are"
    ):
        await reader(stream.getvalue(), "a.png")


@pytest.mark.parametrize("content", [PNG, JPEG, b"\x89PNG\r\n\x1a\nbroken"])
async def test_a_blind_model_is_given_no_image(
    reader: Reader, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before it is looked at, with the remedy."""
    monkeypatch.setattr("runtime.worker.documents.reading.parse", None)
    with pytest.raises(DocumentFailure) as caught:
        await reader(content, "a.png", vision=False)
    assert caught.value.reason == "no_vision"
    assert "give it to a model that can see" in caught.value.detail


async def test_a_pdf_is_its_text_layer(reader: Reader) -> None:
    """Pages are told apart where there are several, and blank ones are skipped; nobody has to see."""
    one = await reader(_pdf("One page"), "a/b.pdf", vision=False)
    assert (one.text, one.images, one.pages, one.charset) == ("One page", (), 1, "")
    three = await reader(_pdf("First", "", "Third"), "a/b.pdf", vision=False)
    assert (three.text, three.images, three.pages) == ("[page 1]\nFirst\n\n[page 3]\nThird", (), 3)


async def test_pages_without_text_are_given_as_images(reader: Reader) -> None:
    """At 150 dots per inch, at their place between those with text."""
    found = await reader(_pdf(None, "Second", None), "a/b.pdf")
    assert found.text == "[page 1: image 1]\n\n[page 2]\nSecond\n\n[page 3: image 2]"
    for image in found.images:
        with Image.open(image.file) as picture:
            assert (picture.format, picture.size) == ("PNG", (625, 417))
    assert (len(found.images), found.pages) == (2, 3)


async def test_a_scan_has_images_alone(reader: Reader) -> None:
    """Where no page has text, nothing is said of pages."""
    found = await reader(_pdf(None, None), "a/b.pdf")
    assert (found.text, len(found.images), found.pages) == ("", 2, 2)


async def test_pages_without_text_are_refused_to_a_blind_model(reader: Reader) -> None:
    """With both remedies, and the first page that needs them."""
    with pytest.raises(DocumentFailure) as caught:
        await reader(_pdf("First", None, None), "a/b.pdf", vision=False)
    assert str(caught.value) == (
        "no_vision: 2 of 3 pages of the PDF have no text, the first is page 2; "
        "put text behind them by OCR, or give them to a model that can see"
    )


@pytest.mark.parametrize(
    ("content", "key", "task", "detail"),
    [
        (b"12345", "a.txt", {"max_text_bytes": 4}, "the document has 5 bytes; as text/plain it may have 4"),
        (PNG, "a.png", {"max_file_bytes": 9}, PNG_TOO_LARGE),
        (_pdf("12345"), "a.pdf", {"max_text_bytes": 4}, "the text of the PDF has more than 4 bytes"),
        (
            _pdf(*[None] * (MAX_PAGES_SEEN + 1)),
            "a.pdf",
            {},
            TOO_MANY,
        ),
    ],
)  # fmt: skip
async def test_each_type_has_its_limit(
    reader: Reader, content: bytes, key: str, task: dict[str, int], detail: str
) -> None:
    """Text counts as text, also that of a PDF; images and PDF files by their bytes."""
    with pytest.raises(DocumentFailure) as caught:
        await reader(content, key, "", vision=True, **task)
    assert (caught.value.reason, caught.value.detail) == ("too_large", detail)


async def test_limits_are_met_exactly(reader: Reader) -> None:
    """A document of just so many bytes is read."""
    assert (await reader(b"12345", max_text_bytes=5)).text == "12345"
    assert (await reader(PNG, "a.png", max_file_bytes=len(PNG), max_text_bytes=1)).images[0].size == len(PNG)


async def test_an_unsupported_type_is_told_what_is_accepted(reader: Reader) -> None:
    """The type decides before the bytes do, and the failure says what was declared, named and found."""
    with pytest.raises(DocumentFailure) as caught:
        await reader(b"PK\3\4\0\0\0", "a.txt", "text/csv", accepts=("text/plain", "text/csv"))
    assert str(caught.value) == (
        "unsupported: the document is application/zip (declared text/csv, named text/plain, "
        "found application/zip); this model accepts text/plain, text/csv"
    )
    with pytest.raises(
        DocumentFailure, match=r"^unsupported: the document is of unknown type \(declared nothing"
    ):
        await reader(b"text", "a")
    with pytest.raises(DocumentFailure, match=r"^unsupported: the document is text/csv \("):
        await reader(b"a,b", "a.csv", accepts=("text/plain",))


ANY_TYPE = st.sampled_from(
    [*get_args(DocumentType), "", "binary/octet-stream", "video/mp4", "x", "text/plain"]
)
SUFFIX = st.sampled_from(["txt", "md", "csv", "json", "srt", "vtt", "docx", "gz", "", "png", "pdf", "html"])


BROKEN = st.builds(
    lambda file, at, change: file[:at] + change + file[at + len(change) :],
    st.sampled_from([PNG, JPEG, _pdf("a", None)]),
    st.integers(0, 400),
    st.binary(max_size=9),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | BROKEN, SUFFIX, ANY_TYPE)
async def test_any_document_is_read_or_refused(
    reader: Reader, content: bytes, suffix: str, declared: str
) -> None:
    """Whatever the bytes, the name and the declaration: content that is some, or a document failure."""
    for vision in (False, True):
        with suppress(DocumentFailure):
            found = await reader(content, f"a/b.{suffix}", declared, vision=vision)
            assert found.text.strip() or found.images
            assert vision or not found.images


def test_nothing_heavy_is_loaded_by_the_worker() -> None:
    """The libraries that parse untrusted bytes are loaded in the child process alone."""
    heavy = {"PIL", "pypdfium2", "html_to_markdown"}
    code = f"import runtime.worker.documents, sys; print(*{heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_pdfs_here_are_whole() -> None:
    """What the tests take for a PDF is one."""
    assert len(pypdfium2.PdfDocument(_pdf("a", None, ""))) == 3
