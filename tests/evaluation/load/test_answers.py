"""Answers in every shape and every kind of pieces, without a socket."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest

from sememe.evaluation.load.answers import AnswerReader

LENGTH = b"HTTP/1.1 200 OK\r\nServer: a\r\ncontent-LENGTH:  11 \r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b'5\r\nhello\r\n6;name="value"\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n'
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + LENGTH
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
NO_HEADERS = b"HTTP/1.1 204\r\n\r\n"


def read(pieces: Iterable[bytes]) -> AnswerReader:
    """After the last piece, and no earlier, the answer is whole."""
    *first, last = pieces
    reader = AnswerReader()
    assert not any(reader.feed(piece) for piece in first)
    assert reader.feed(last)
    return reader


def cut(answer: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(answer)]
    return [answer[a:b] for a, b in pairwise(edges) if a < b]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (LENGTH, 200, b"hello world"),
        (CHUNKED, 200, b"hello world"),
        (CONTINUED, 200, b"hello world"),
        (EMPTY, 200, b""),
        (NO_CONTENT, 204, b""),
        (NO_HEADERS, 204, b""),
    ],
)
def test_an_answer_in_any_pieces(answer: bytes, status: int, body: bytes) -> None:
    rng = random.Random(0)
    cuts = [[], range(len(answer)), *([at] for at in range(1, len(answer)))]
    cuts += [rng.sample(range(len(answer)), 5) for _ in range(50)]
    for places in cuts:
        reader = read(cut(answer, places))
        assert (reader.status, reader.body, reader.is_last) == (status, body, False)


@pytest.mark.parametrize(
    "head", ["HTTP/1.1 200 OK\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"]
)
def test_without_a_length_the_answer_ends_with_the_connection(head: str) -> None:
    reader = read([head.encode(), b"hello", b" world", b""])
    assert reader.body == b"hello world"
    assert reader.is_last


@pytest.mark.parametrize(
    ("answer", "is_last"),
    [
        (LENGTH.replace(b"Server: a", b"Connection: Close"), True),
        (LENGTH.replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (LENGTH.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Server: a", b"Connection: Keep-Alive"), False),
        (LENGTH + b"!", True),
        (CHUNKED + LENGTH, True),
    ],
)
def test_whether_the_connection_can_be_used_again(answer: bytes, is_last: bool) -> None:
    assert read([answer]).is_last == is_last


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, CONTINUED])
def test_an_answer_that_is_cut_off(answer: bytes) -> None:
    for size in range(len(answer)):
        reader = AnswerReader()
        assert not any(reader.feed(piece) for piece in cut(answer[:size], []))
        with pytest.raises(EOFError):
            reader.feed(b"")


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"\x15\x03\x01\x00\x02\x02", "no HTTP"),  # TLS's alert
        (b"HTT!", "no HTTP"),
        (b"HTTP/2 200\r\n", "no HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its length is no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "its length is no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "a chunk's length is no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", "a chunk's length is no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", "a chunk of another length"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (2**20 + 100), "an endless line"),
    ],
)
def test_what_is_no_answer_is_refused_at_once(garbage: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AnswerReader().feed(garbage)


def test_a_large_answer_in_many_chunks() -> None:
    chunks = [bytes([i % 251]) * (i % 4000 + 1) for i in range(5000)]
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer += b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    assert read(cut(answer, range(0, len(answer), 65_536))).body == b"".join(chunks)
