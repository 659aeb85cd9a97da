"""Files as they come: CSV without a header, with a preamble, comments, escapes or ragged rows; values in the path."""

from __future__ import annotations

import gzip
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.files.names import InputFile, belonging
from connectors.files.storage import Storage, StoredFile
from connectors.sources.files import FileRange, blocks_of, ranges
from connectors.sources.stored_letters import decode_again
from contracts.decoding.decoder import Decoder
from contracts.odcs.tables import load
from contracts.table import Table

TODAY = date(2024, 6, 15)
PROPERTIES = "[{name: ride_id, logicalType: integer, primaryKey: true}, {name: minutes, logicalType: integer}]"


def table_of(custom: str = "[]", properties: str = PROPERTIES) -> Table:
    schema = {"name": "rides", "properties": yaml.safe_load(properties), "customProperties": yaml.safe_load(custom)}
    document = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "t", "version": "1", "schema": [schema]}
    return load([("t.odcs.yaml", yaml.safe_dump(document))])["rides"]


def read(table: Table, data: bytes, uri: str = "gs://b/rides.csv") -> tuple[list[tuple[Any, ...]], list[str]]:
    """The rows of a file, and the messages of its refused records."""
    decoder = Decoder(table, lambda: TODAY)
    part = FileRange(InputFile("rides", uri, len(data), 0))
    decoded = [decoder.decode(block) for block in blocks_of(io.BytesIO(data), part, table, 10_000)]
    for refusal in (refusal for each in decoded for refusal in each.refusals):
        letter = {"raw": refusal.raw, "position": refusal.position, "source": uri, "truncated": refusal.truncated}
        again = decode_again({**letter, "attributes": json.dumps(refusal.attributes)}, table, 10_000, TODAY)
        assert again is not None
        assert (again.code, again.message) == (refusal.code, refusal.message)
    names = [column.name for column in table.columns]
    rows = [row for each in decoded for row in each.rows.select(names).rows()]
    return rows, [refusal.message for each in decoded for refusal in each.refusals]


def csv(**options: Any) -> str:
    return yaml.safe_dump([{"property": "csv", "value": options}])


def test_no_header() -> None:
    assert read(table_of(csv(header=False)), b"1,12\n2,7\n") == ([(1, 12), (2, 7)], [])
    assert read(table_of(csv(header=False, delimiter=";")), b"1;12\n2\n")[1] == [
        "the record has 1 fields, the header has 2"
    ]


def test_lines_before_the_header() -> None:
    data = b'Exported by: "depot\n\n\nride_id,minutes\n1,12\n'
    assert read(table_of(csv(skipLines=3)), data) == ([(1, 12)], [])
    assert read(table_of(csv(skipLines=3, header=False)), data.replace(b"ride_id,minutes\n", b"")) == ([(1, 12)], [])
    assert read(table_of(csv(skipLines=9)), data) == ([], [])


def test_comment_lines() -> None:
    data = b'# a "quote\nride_id,minutes\n#1,2\n1,12\n"# no\n# comment",1\n2,#\n'
    rows, messages = read(table_of(csv(comment="#")), data)
    assert (rows, len(messages)) == ([(1, 12)], 2)


def test_ragged_rows() -> None:
    data = b"ride_id,minutes\n1\n2,7\n3,8,9\n"
    rows, messages = read(table_of(csv(raggedRows=True)), data)
    assert rows == [(1, None), (2, 7)]
    assert messages == ["the record has 3 fields, the header has 2"]
    assert read(table_of(), data)[0] == [(2, 7)]


TEXTS = "[{name: id, logicalType: integer, primaryKey: true}, {name: a, logicalType: string}]"


def test_escape_characters() -> None:
    table = table_of(csv(escape="\\", nulls=["\\N"]), TEXTS)
    data = rb"""id,a
1,"say \"hi\", now"
2,one\,two
3,\N
4,"a ""b"" \\"
5,"line
\"two\""
""".replace(b"\r", b"")
    expected = [(1, 'say "hi", now'), (2, "one,two"), (3, None), (4, 'a "b" \\'), (5, 'line\n"two"')]
    assert read(table, data, "gs://b/rides.csv") == (expected, [])
    assert read(table_of(csv(escape="\\"), TEXTS), b'id,a\n1,"x\\"\n2,y\n')[0] == [(2, "y")]


@pytest.mark.parametrize("options", [{}, {"header": False}, {"skipLines": 1}])
def test_lone_carriage_returns_as_line_ends(options: dict[str, Any]) -> None:
    data = b"" if "header" in options else b"ride_id,minutes\r"
    data = b"\r" * options.get("skipLines", 0) + data + b"1,12\r2,7"
    assert read(table_of(csv(**options)), data) == ([(1, 12), (2, 7)], [])
    assert read(table_of(), b"ride_id,minutes\n1,1\r2,7\n")[0] == []


def test_records_inside_a_document() -> None:
    table = table_of("[{property: recordsPath, value: data.items}]")
    data = b'{"n":1,"data":{"items":[\n{"ride_id":1,"minutes":2},\n{"ride_id":"x"}]}}'
    rows, messages = read(table, data, "gs://b/rides.json")
    assert rows == [(1, 2)]
    assert len(messages) == 1
    (message,) = read(table, b'{"data":[]}', "gs://b/rides.json")[1]
    assert message == "the file cannot be read: it has no array at data.items"


PARTITIONED = """[
  {name: ride_id, logicalType: integer, primaryKey: true},
  {name: dt, logicalType: date}, {name: Hour, logicalType: integer},
  {name: region, logicalType: string, customProperties: [{property: pathPart, value: zone}]},
  {name: origin, logicalType: string, customProperties: [{property: fileName, value: true}]}]"""
FOLDER = "gs://b/rides/dt=2024-01-01/hour=05/zone=a%2Fb/"


def test_values_in_the_path() -> None:
    table, day = table_of(properties=PARTITIONED), date(2024, 1, 1)
    expected = [(1, day, 5, "a/b", "x.csv"), (2, day, 5, "a/b", "x.csv")]
    assert read(table, b"ride_id\n1\n+2\n", FOLDER + "x.csv") == (expected, [])
    lines = b'{"ride_id":1,"dt":null,"Hour":7}\n{"ride_id":2.0}\n'
    rows = [(1, day, 7, "a/b", "x.ndjson"), (2, day, 5, "a/b", "x.ndjson")]
    assert read(table, lines, FOLDER + "x.ndjson") == (rows, [])
    uri = "gs://b/rides/zone=__HIVE_DEFAULT_PARTITION__/x.csv"
    assert read(table, b"ride_id\n1\n", uri) == ([(1, None, None, None, "x.csv")], [])
    assert read(table, b"ride_id\n1\n", "gs://b/rides/dt=may/x.csv")[1] == ['dt: "may" is not a date']


def test_files_that_the_contract_names() -> None:
    table = table_of("[{property: files, value: ['export/**/*.csv', 'R?.ndjson.gz']}]")
    names = ["export/a.csv", "export/2024/05/b.csv", "R1.ndjson.gz", "rides.csv", "export/a.txt", "R12.ndjson.gz"]
    stored = [StoredFile(f"gs://b/in/{name}", 1, 1) for name in names]
    listing = belonging(stored, "gs://b/in", {"rides": table})
    assert [file.uri.removeprefix("gs://b/in/") for file in listing.files] == ["R1.ndjson.gz", *sorted(names[:2])]
    assert len(listing.passed_over) == 3
    twice = belonging(stored[:1], "gs://b/in", {"rides": table, "others": table})
    assert twice.passed_over[0].reason == "the contracts of others and rides both have it among their files"


RIDES = [b'{"ride_id":1,"minutes":2}', b'{"ride_id":2,"minutes":null}', b'{"ride_id":3,"minutes":4}']
PRETTY = b"\n".join(json.dumps(json.loads(ride), indent=2).encode() for ride in RIDES)
LAYOUTS = {
    "pretty": PRETTY,
    "one behind the other": b"".join(RIDES),
    "commas at line ends": b",\r\n".join(RIDES) + b",\n",
    "arrays on lines": b"\n".join(b"[" + ride + b"]" for ride in RIDES),
    "arrays without line ends": b"".join(b"[" + ride + b"]" for ride in RIDES),
    "a text sequence": b"".join(b"\x1e" + ride + b"\n" for ride in RIDES),
    "pretty in a text sequence": b"\x1e" + PRETTY.replace(b"}\n{", b"}\n\x1e{"),
    "one array": b"[" + b",".join(RIDES) + b"]",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("format", ["json", "ndjson.gz", "jsonl"])
def test_layouts_of_json(layout: str, format: str) -> None:
    data = b"\xef\xbb\xbf" + LAYOUTS[layout]
    stored = gzip.compress(data) if format.endswith("gz") else data
    assert read(table_of(), stored, f"gs://b/rides.{format}") == ([(1, 2), (2, None), (3, 4)], [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_json_larger_than_a_range(layout: str, tmp_path: Path) -> None:
    """Only records on lines are read in ranges; the first records decide."""
    file = tmp_path / "rides.ndjson"
    for data, count in ((LAYOUTS[layout], 1), (b"\n".join(RIDES), 3)):
        file.write_bytes(data)
        pinned = InputFile("rides", str(file), len(data), file.stat().st_mtime_ns)
        assert len(list(ranges(Storage(), pinned, table_of(), 30))) == count


@pytest.mark.parametrize("compressed", [False, True])
def test_the_beginning_of_a_truncated_file(compressed: bool) -> None:
    pretty = PRETTY + b"\n" + PRETTY
    assert len(read(table_of(), pretty[:-1], "gs://b/rides.json")[0]) == 5
    data = gzip.compress(b"\n".join(b'{"ride_id":%d,"minutes":%d}' % (n, n * n) for n in range(100)))[:-20]
    rows, messages = read(table_of(), data, "gs://b/rides.json.gz")
    assert len(rows) > 50
    assert messages[-1] == "the file cannot be read: the gz data is truncated"


WRAPPED = [
    b'{"records":[' + b",".join(RIDES) + b"]}",
    b'{"next":null,"records":[\n  ' + b",\n  ".join(RIDES * 5000) + b"]}",
    b'{"count":1,"records":[' + RIDES[0] + b']}\n{"count":0,"records":[]}\n',
]


@pytest.mark.parametrize("data", WRAPPED, ids=["a line", "a long document", "lines"])
def test_records_inside_a_document_that_the_contract_does_not_name(data: bytes) -> None:
    rows, messages = read(table_of(), data, "gs://b/rides.json")
    why = "its records are inside a document, in the array records; set recordsPath: records for the table"
    assert (rows, messages) == ([], [f"the file cannot be read: {why}"])
    assert read(table_of("[{property: recordsPath, value: records}]"), data, "gs://b/rides.json")[1] == []


@pytest.mark.parametrize("mark", [b"sep=;\r\n", b'"sep=;"\n', b"\xef\xbb\xbfsep=;\n"])
def test_the_first_line_of_excel_names_the_delimiter(mark: bytes) -> None:
    data = mark + b"ride_id;minutes\n1;12\n2;x\n"
    expected = [(1, 12)], ['minutes: "x" is not an integer']
    assert read(table_of(), data) == expected
    assert read(table_of(csv(skipLines=1)), data) == expected
    assert read(table_of(csv(header=False)), data.replace(b"ride_id;minutes\n", b"")) == expected
    assert read(table_of(), mark.replace(b";", b"\t") + b"ride_id\tminutes\r\n1\t12\n") == ([(1, 12)], [])


def test_a_line_that_only_looks_like_that_of_excel() -> None:
    assert read(table_of(), b"ride_id,minutes\nsep=;\n1,2\n") == (
        [(1, 2)],
        ["the record has 1 fields, the header has 2"],
    )
    assert read(table_of(csv(delimiter=";")), b"sep=x;ride_id\n1;2\n")[0] == [(2, None)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("form", ["csv", "json", "ndjson"])
def test_wide_encodings_are_refused_as_a_whole(encoding: str, form: str) -> None:
    text = "ride_id,minutes\n1,2\n2,3\n" if form == "csv" else '{"ride_id":1}\n{"ride_id":2}\n'
    rows, (message,) = read(table_of(), text.encode(encoding), f"gs://b/rides.{form}")
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    assert rows == []
    assert message == (f"the file cannot be read: it is {name}, not UTF-8; convert it with iconv -f {name} -t UTF-8")
