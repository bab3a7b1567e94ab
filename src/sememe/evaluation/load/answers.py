"""One HTTP/1.1 answer, read in whatever pieces it comes, without a socket (RFC 9112)."""

from __future__ import annotations

from collections.abc import Generator

_MAX_LINE_BYTES = 2**20  # of a head, too
_BEGINS = b"HTTP/1."


class AnswerReader:
    """Takes the pieces of one answer. Once it is whole: its status and body, and whether the connection ends with it."""

    def __init__(self) -> None:
        self.status, self.body, self.is_last = 0, b"", False
        self._buffer = bytearray()
        self._reading = self._read()
        next(self._reading)

    def feed(self, piece: bytes) -> bool:
        """Whether the answer is whole now. An empty piece says that the server sends no more.

        Raises EOFError where it ends too early, and ValueError, in few words, where it is no answer.
        """
        return self._reading.send(piece)

    def _read(self) -> Generator[bool, bytes, None]:
        """Gives False for every piece but the last. Section 6.3 says how long a body is."""
        yield from self._more()
        while True:
            if self._buffer[: len(_BEGINS)] != _BEGINS[: len(self._buffer)]:
                raise ValueError("no HTTP")  # at once, and not when a blank line comes, which may be never
            head = (yield from self._until(b"\r\n\r\n")).lower()
            self.status = _status(head)
            if self.status >= 200:  # 100 Continue and its like come before the answer
                break
        connection = _value(head, b"connection")
        self.is_last = b"close" in connection or (head[7:8] == b"0" and b"keep-alive" not in connection)
        coding, length = _value(head, b"transfer-encoding"), _value(head, b"content-length")
        if self.status in (204, 304):
            pass
        elif coding.endswith(b"chunked"):
            yield from self._read_chunks()
        elif length and not coding:
            if not length.isdigit():
                raise ValueError("its length is no number")
            self.body = yield from self._exactly(int(length))
        else:
            self.is_last = True
            while piece := (yield False):
                self._buffer += piece
            self.body = self._take(len(self._buffer))
        self.is_last = self.is_last or bool(self._buffer)  # more than was asked for
        yield True

    def _read_chunks(self) -> Generator[bool, bytes, None]:
        chunks = []
        while size := _chunk_size((yield from self._until(b"\r\n"))):
            chunks.append((yield from self._exactly(size)))
            if (yield from self._exactly(2)) != b"\r\n":
                raise ValueError("a chunk of another length")
        while (yield from self._until(b"\r\n")):  # trailers
            pass
        self.body = b"".join(chunks)

    def _more(self) -> Generator[bool, bytes, None]:
        piece = yield False
        if not piece:
            raise EOFError("the server closed the connection within an answer")
        self._buffer += piece

    def _until(self, end: bytes) -> Generator[bool, bytes, bytes]:
        """What comes before `end`, which is taken too."""
        looked = 0
        while (at := self._buffer.find(end, looked)) < 0:
            looked = max(0, len(self._buffer) - len(end) + 1)
            if looked > _MAX_LINE_BYTES:
                raise ValueError("an endless line")
            yield from self._more()
        found = self._take(at)
        del self._buffer[: len(end)]
        return found

    def _exactly(self, size: int) -> Generator[bool, bytes, bytes]:
        while len(self._buffer) < size:
            yield from self._more()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        with memoryview(self._buffer) as whole, whole[:size] as part:
            taken = bytes(part)
        del self._buffer[:size]  # moves the start, and nothing else
        return taken


def _status(head: bytes) -> int:
    if not head[9:12].isdigit():
        raise ValueError("no HTTP")
    return int(head[9:12])


def _value(head: bytes, name: bytes) -> bytes:
    """Of a header, by its name in lower case; empty where it is not there. head: in lower case."""
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start, end = at + len(name) + 3, head.find(b"\r\n", at + 2)
    return head[start : end if end >= 0 else len(head)].strip()


def _chunk_size(line: bytes) -> int:
    try:
        size = int(line.split(b";")[0], 16)
    except ValueError:
        size = -1
    if size < 0:
        raise ValueError("a chunk's length is no number")
    return size
