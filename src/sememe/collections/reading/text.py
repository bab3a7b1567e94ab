"""Text files: bytes to text, and the headings of Markdown and reStructuredText."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from sememe.collections.documents import Document
from sememe.collections.reading.outline import Heading, Outline, line_starts
from sememe.collections.reading.shape import Shape, Unreadable

# The longer marks first: UTF-32's begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_UNDERLINE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")


def read_text(path: Path, encoding: str) -> Shape:
    """Plain text and source code, as it stands."""
    text = decode(path.read_bytes(), encoding)
    return Shape(text, Outline(lines=line_starts(text)))


def read_markdown(path: Path, encoding: str) -> Shape:
    """Markdown as it stands; the first heading of level 1 is the title."""
    text = decode(path.read_bytes(), encoding)
    headings = markdown_headings(text)
    title = next((heading.title for heading in headings if heading.level == 1), "")
    return Shape(text, Outline(headings=headings, lines=line_starts(text)), title or _front_title(text))


def read_rst(path: Path, encoding: str) -> Shape:
    """reStructuredText as it stands; the first heading is the title."""
    text = decode(path.read_bytes(), encoding)
    headings = rst_headings(text)
    return Shape(text, Outline(headings=headings, lines=line_starts(text)), headings[0].title if headings else "")


def outline_of(document: Document) -> Outline:
    """The outline of a text that somebody gave as it is; its metadata `kind` says whether it has headings."""
    headings = {"markdown": markdown_headings, "rst": rst_headings}.get(str(document.metadata.get("kind")))
    return Outline(headings=headings(document.text) if headings else (), lines=line_starts(document.text))


def decode(raw: bytes, encoding: str) -> str:
    r"""Bytes as text with "\n" at the end of lines. Raises Unreadable for what is not text in that encoding.

    A byte order mark says the encoding, whatever was asked for, and is left out.
    """
    marked = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if marked is None and b"\0" in raw[:8192]:
        raise Unreadable("it has zero bytes, so it is no text")
    try:
        text = raw.decode(marked or encoding)
    except UnicodeDecodeError as exc:
        raise Unreadable(
            f"byte 0x{raw[exc.start]:02x} at position {exc.start + 1:,} is not {marked or encoding}; "
            "say its encoding (--encoding), or convert the file"
        ) from exc
    except UnicodeError as exc:  # a cut-off UTF-16
        raise Unreadable(f"it is not {marked or encoding}: {exc}") from exc
    return text.replace("\r\n", "\n").replace("\r", "\n")


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """Headings with `#` and underlined ones, those inside fenced code left out. Source: CommonMark 0.31, 4.2, 4.3."""
    found: list[Heading] = []
    fence, previous, previous_start, start = "", "", 0, 0
    in_front = text.startswith("---\n")
    for number, line in enumerate(text.split("\n")):
        if in_front:
            in_front = number == 0 or line.rstrip() not in ("---", "...")
            line_is = ""
        elif fence:
            mark = _FENCE.match(line)
            if mark and mark[1].startswith(fence) and not line.strip(f"{fence[0]} \t"):
                fence = ""
            line_is = ""
        elif mark := _FENCE.match(line):
            fence, line_is = mark[1], ""
        elif (mark := _ATX.match(line)) and mark[2]:
            found.append(Heading(start, len(mark[1]), mark[2].strip()))
            line_is = ""
        elif (mark := _SETEXT.match(line)) and _is_prose(previous):
            found.append(Heading(previous_start, 1 if mark[1][0] == "=" else 2, previous.strip()))
            line_is = ""
        else:
            line_is = line
        previous, previous_start = line_is, start
        start += len(line) + 1
    return tuple(found)


def _is_prose(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("    ", "\t", ">", "|", "- ", "* ", "+ "))


def _front_title(text: str) -> str:
    """`title:` of a front matter."""
    if not text.startswith("---\n"):
        return ""
    front = text[4:].split("\n---", 1)[0]
    mark = re.search(r"^title:[ \t]*(.+?)[ \t]*$", front, re.MULTILINE)
    return mark[1].strip("\"'") if mark else ""


def rst_headings(text: str) -> tuple[Heading, ...]:
    """Underlined headings; a style's level is the place at which it first came. Source: docutils, "Sections"."""
    found: list[Heading] = []
    styles: list[str] = []
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for i in range(1, len(lines)):
        mark, title = _UNDERLINE.match(lines[i]), lines[i - 1]
        if (
            not mark
            or not title.strip()
            or (title[0].isspace() and not _is_overline(lines, i))
            or _UNDERLINE.match(title)
        ):
            continue
        if len(lines[i].rstrip()) < len(title.rstrip()):
            continue
        over = _is_overline(lines, i)
        if i >= 2 and lines[i - 2].strip() and not over:  # the last line of a paragraph above a transition or table
            continue
        style = mark[1] * (2 if over else 1)
        if style not in styles:
            styles.append(style)
        found.append(Heading(starts[i - 2] if over else starts[i - 1], styles.index(style) + 1, title.strip()))
    return tuple(found)


def _is_overline(lines: list[str], i: int) -> bool:
    return i >= 2 and lines[i - 2].rstrip() == lines[i].rstrip()
