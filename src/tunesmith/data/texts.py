"""Plain text and Markdown → pieces that together are the file, character for character.

The decision: a text file has no records, but validation needs something to set aside and memory must stay bounded.
So it is cut into pieces of about 8,000 characters, at the end of a paragraph where there is one, else of a line.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import BinaryIO

from tunesmith.data.checks import Finding, find_in_file

PIECE = 8_000
# A text without any line end is cut hard, so that one endless line stays within memory.
LONGEST = 4 * PIECE


def pieces(stream: BinaryIO, file: str) -> Iterator[tuple[int, str] | Finding]:
    """Line number (from 1) and text of each piece; joined, the texts are the file."""
    decode = getincrementaldecoder("utf-8")("surrogateescape").decode
    line, held, rest_of_file = 1, "", True
    while rest_of_file or held:
        while rest_of_file and len(held) < LONGEST:
            part = stream.read(LONGEST)
            held += decode(part, not part)
            rest_of_file = bool(part)
        cut = _cut(held) if rest_of_file or len(held) > PIECE else len(held)
        piece, held = held[:cut], held[cut:]
        if piece:
            yield _not_utf8(piece, file, line) or (line, piece)
            line += piece.count("\n")


def _cut(text: str) -> int:
    for border in ("\n\n", "\r\n\r\n", "\n", " "):
        found = text.find(border, PIECE, LONGEST)
        if found >= 0:
            return found + len(border)
    return min(len(text), LONGEST)


def _not_utf8(piece: str, file: str, line: int) -> Finding | None:
    try:
        piece.encode("utf-8")
    except UnicodeEncodeError as wrong:
        where = line + piece.count("\n", 0, wrong.start)
        byte = ord(piece[wrong.start]) - 0xDC00
        return find_in_file("not-utf8", f"byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8.", file, where)
    return None
