"""How a file of JSON is written, by its first bytes: a record on each line, or documents of any other layout."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from contracts.decoding.json_text import MAX_DEPTH

__all__ = ["HEAD_BYTES", "JsonForm", "JsonHead", "arrays_of_objects", "read_head", "records_inside"]

HEAD_BYTES = 1 << 16
"""The form of a file is decided by this many bytes."""
MAX_PATH = 5
"""The most names in the path of an array inside a document."""
_SPACE = " \t\r\n\v\f"
_AFTER_DOCUMENT = ("{", "[", ",", "\x1e")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|["\[\]{},]|[^"\[\]{},]+', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


class JsonForm(enum.Enum):
    """The layouts that a splitter exists for."""

    LINES = "lines"
    """One record on each line, and whatever else is no document: each line that is no record is refused."""
    COMMA_LINES = "comma lines"
    """One record on each line, with a comma behind it."""
    DOCUMENTS = "documents"
    """Objects of several lines, several on a line, arrays, or a text sequence of RFC 7464."""


@dataclass(frozen=True, slots=True)
class JsonHead:
    """The form of a file, and its first document, or what its first bytes have of it; None if there is none."""

    form: JsonForm
    first: object = None


def read_head(head: bytes, *, whole: bool) -> JsonHead:
    """Return the form of a file that begins with these bytes, without a byte order mark; `whole` if it has no others.

    A file whose first line is one object has a record on each line. Of other files the first document decides.
    """
    text = head.decode("utf-8", "replace").lstrip(_SPACE)
    if text.startswith("\x1e"):
        return JsonHead(JsonForm.DOCUMENTS, _document(text.lstrip(_SPACE + "\x1e"), whole)[0])
    line = text.partition("\n")[0]
    first, end = _document(line, whole=True)
    if end is None:
        first, end = _document(text, whole)
        line = text
    behind = line[len(line) if end is None else end :].strip(_SPACE)
    if isinstance(first, list):
        return JsonHead(JsonForm.DOCUMENTS, first)
    if not isinstance(first, dict):
        return JsonHead(JsonForm.LINES)
    if behind == "," and line is not text:
        return JsonHead(JsonForm.COMMA_LINES, first)
    if behind:
        return JsonHead(JsonForm.DOCUMENTS if behind.startswith(_AFTER_DOCUMENT) else JsonForm.LINES, first)
    one_line = "\n" not in text[: len(text) if end is None else end].rstrip(_SPACE)
    return JsonHead(JsonForm.LINES if one_line else JsonForm.DOCUMENTS, first)


def _document(text: str, whole: bool) -> tuple[object, int | None]:
    """Return the document at the beginning of a text, and where it ends.

    Of a document that goes on behind the text the values so far, and None; (None, None) if it is no JSON.
    """
    try:
        value, end = _DECODER.raw_decode(text)
        return value, end
    except (ValueError, RecursionError):
        if whole:
            return None, None
    try:
        return _DECODER.raw_decode(_closed(text))[0], None
    except (ValueError, RecursionError):
        return None, None


def _closed(text: str) -> str:
    """Return the text up to its last complete value, with the brackets that are missing at its end."""
    end, open_brackets, missing = 0, list[str](), ""
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            open_brackets.append(_CLOSING[token[0]])
            if len(open_brackets) > MAX_DEPTH:
                return ""
        elif token[0] in ("]", "}"):
            if not open_brackets:
                break
            open_brackets.pop()
        elif token[0] == '"':  # a string that goes on
            break
        elif token[0] != ",":
            continue
        end, missing = token.end() - (token[0] == ","), "".join(reversed(open_brackets))
    return text[:end] + missing


def records_inside(document: object, fields: Collection[str]) -> tuple[str, ...]:
    """Return the path of the array of records inside a document that is no record itself; () if it is one.

    `fields` are the names of the fields of a record. A document is none if it has no such field in any case, but
    objects of an array inside it have.
    """
    known = {field.casefold() for field in fields}
    if not isinstance(document, dict) or _shared(document, known):
        return ()
    arrays = {path: max(_shared(item, known) for item in items) for path, items in arrays_of_objects(document)}
    best = max(arrays, key=lambda path: arrays[path], default=())
    return best if arrays.get(best) else ()


def arrays_of_objects(
    document: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Sequence[Mapping[str, object]]]]:
    """Yield each array of objects that is reached by objects alone, with its path."""
    if isinstance(document, dict) and len(path) < MAX_PATH:
        for name, inner in document.items():
            yield from arrays_of_objects(inner, (*path, name))
    elif isinstance(document, list) and document and path and all(isinstance(item, dict) for item in document):
        yield path, document


def _shared(record: Mapping[str, object], known: Collection[str]) -> int:
    return sum(name.casefold() in known for name in record)
