"""What BigQuery says of a refused statement, as Google's servers and the local one word it, on one line."""

from __future__ import annotations

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, NotFound

from connectors.google.errors import reason, reported
from operations.query import MISSING

JOB = "\n\nLocation: EU\nJob ID: 5e0c-1\n"
SYNTAX, DATASET = 'Syntax error: Unexpected "x" at [1:7]', "Not found: Dataset p:d was not found in location EU"
BINDER = 'Binder Error: column "a" not found!\nCandidates: "b"\n\nLINE 1: SELECT a FROM "p__d"."t"\n               ^'
ADDRESS = "GET https://bigquery.googleapis.com/bigquery/v2/projects/p?x=1: "
MESSAGES: list[tuple[GoogleAPICallError, str]] = [
    (BadRequest(f"{SYNTAX}; reason: invalidQuery, location: query, message: {SYNTAX}{JOB}"), SYNTAX),
    (NotFound(DATASET + JOB), DATASET),
    (Forbidden(f"{ADDRESS}Access Denied: Dataset p:d: no"), "Access Denied: Dataset p:d: no"),
    (BadRequest(BINDER + JOB), 'Binder Error: column "a" not found! Candidates: "b"'),
    (BadRequest("line 1: is kept ^ as it is"), "line 1: is kept ^ as it is"),
]
NAMED = {
    "Not found: Table my-project:d.t was not found in location US": ("Table", "my-project:d.t"),
    "Not found: Table my-project.d.t was not found in location US": ("Table", "my-project.d.t"),
    "Not found: Dataset my-project:d was not found in location US": ("Dataset", "my-project:d"),
    'Table "t" must be qualified with a dataset (e.g. dataset.table).': ("Table", "t"),
    "Table name t is taken": None,
}


@pytest.mark.parametrize(("error", "said"), MESSAGES)
def test_a_reason_is_one_line_and_is_said_once(error: GoogleAPICallError, said: str) -> None:
    assert reason(error) == said
    assert str(reported(error)) == f"Google refuses ({error.code}): {said}"


@pytest.mark.parametrize("message", NAMED)
def test_what_is_missing_is_read_from_both_wordings(message: str) -> None:
    match = MISSING.search(message)
    assert (match and match.groups()) == NAMED[message]
