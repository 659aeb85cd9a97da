"""What the local BigQuery refuses, it refuses as BigQuery does: at once, with a code that says so and with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, InternalServerError, InvalidArgument, NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from connectors.google.clients import read_client
from local.services import Endpoints
from tests.local.clients import PROJECT, Appender, bigquery_client, rows_of

pytestmark = pytest.mark.e2e
DATASET = "refusals"
INVALID_ARGUMENT = 3


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Nothing here is retried, though no call says that it must not be."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 30


@pytest.fixture(scope="module")
def dataset(cloud: Endpoints) -> str:
    """A dataset for all tests of this file."""
    bigquery_client(cloud).create_dataset(DATASET)
    return DATASET


@pytest.fixture(scope="module")
def events(cloud: Endpoints, dataset: str) -> str:
    """A table."""
    fields = [
        bigquery.SchemaField("id", "INTEGER"),
        bigquery.SchemaField("name", "STRING"),
        bigquery.SchemaField("select", "INTEGER"),
        bigquery.SchemaField("at", "RECORD", fields=[bigquery.SchemaField("end", "STRING")]),
    ]
    bigquery_client(cloud).create_table(bigquery.Table(f"{PROJECT}.{dataset}.events", fields))
    return f"{PROJECT}.{dataset}.events"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the user's, outside of the local cloud."""
    file = tmp_path / "secret.csv"
    file.write_text("a\nsecret\n")
    return file


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('{file}')",
        "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM `{file}`",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM ST_Read('{file}')",
        "SELECT content FROM read_text('{cloud}/gcs/../services.json')",
        "COPY (SELECT 1) TO '{folder}/new'",
        "EXPORT DATABASE '{folder}/new'",
        "EXPORT DATA OPTIONS (uri = 'file://{folder}/new-*.csv', format = 'CSV') AS SELECT 1 AS a",
        "ATTACH '{folder}/new'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
    ],
)
def test_sql_reaches_no_file_outside(cloud: Endpoints, client: bigquery.Client, secret: Path, sql: str) -> None:
    statement = sql.format(file=secret, folder=secret.parent, cloud=cloud.directory)
    with pytest.raises(GoogleAPICallError) as refused:
        client.query(statement).result()
    assert str(refused.value.code).startswith("4"), refused.value
    assert [file.name for file in secret.parent.iterdir()] == ["secret.csv"]


def test_a_short_query_that_fails_is_no_empty_result(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        client.query_and_wait(f"SELECT * FROM `{PROJECT}.{dataset}.nowhere`", retry=None, job_retry=None)
    with pytest.raises(BadRequest, match="SELEC"):
        client.query_and_wait("SELEC 1", retry=None, job_retry=None)
    with pytest.raises(BadRequest, match="no such"):
        client.query_and_wait("SELECT ERROR('no such')", retry=None, job_retry=None)


@pytest.mark.parametrize("kind", ["CSV", "PARQUET", "AVRO", "ORC"])
def test_a_load_reaches_no_file_outside(client: bigquery.Client, dataset: str, secret: Path, kind: str) -> None:
    table = f"{PROJECT}.{dataset}.{kind.lower()}"
    client.create_table(bigquery.Table(table, [bigquery.SchemaField("a", "STRING")]))
    config = bigquery.LoadJobConfig(source_format=kind)
    for uri in (f"file://{secret}", str(secret), f"gs://../../{secret}"):
        with pytest.raises(BadRequest, match=r"is not a file of a bucket|escapes the configured"):
            client.load_table_from_uri(uri, table, job_config=config).result()
    assert rows_of(client, f"SELECT * FROM `{table}`") == []


def test_a_load_from_this_machine_is_uploaded(client: bigquery.Client, dataset: str, secret: Path) -> None:
    table = f"{PROJECT}.{dataset}.uploaded"
    client.create_table(bigquery.Table(table, [bigquery.SchemaField("a", "STRING")]))
    with secret.open("rb") as file:
        client.load_table_from_file(file, table, job_config=bigquery.LoadJobConfig(source_format="CSV")).result()
    assert ("secret",) in rows_of(client, f"SELECT * FROM `{table}`")


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT nothing FROM {dataset}.events", 'column "nothing"'),
        ("SELECT * FROM {dataset}.nothing", "Not found: Table .*nothing"),
        ("SELECT * FROM nothing.nothing", "Not found: Dataset .*nothing"),
        ("SELECT `at`.nothing FROM {dataset}.events", "nothing"),
        ("SELECT 1 +", "yntax error|xpected"),
        ("SELECT no_such_function(1)", "no_such_function"),
        ("INSERT INTO {dataset}.events (id) VALUES ('x')", "x"),
        ("CREATE TABLE {dataset}.events (id INT64)", "Already Exists"),
        ("DROP TABLE {dataset}.nothing", "nothing"),
        ("ALTER TABLE {dataset}.events ADD COLUMN id INT64", "id"),
        ("SELECT TIMESTAMP '99999-01-01'", "out of range"),
        ("SELECT 1; RAISE USING MESSAGE = 'so it is'", "so it is"),
    ],
)
def test_a_wrong_statement(client: bigquery.Client, events: str, sql: str, why: str) -> None:
    with pytest.raises(GoogleAPICallError, match=why) as refused:
        list(client.query(sql.format(dataset=DATASET)).result())
    assert str(refused.value.code).startswith("4"), refused.value
    message = refused.value.errors[0]["message"]
    for of_duckdb in ("__", "LINE 1", "\n", "Query execution failed"):
        assert of_duckdb not in message


def test_a_table_that_cannot_be_made(client: bigquery.Client, dataset: str) -> None:
    twice = [bigquery.SchemaField(name, "STRING") for name in ("id", "ID")]
    with pytest.raises(BadRequest, match=r"already exists|duplicate|ID"):
        client.create_table(bigquery.Table(f"{PROJECT}.{dataset}.twice", twice))


def test_rows_that_do_not_fit(events: str, appender: Callable[..., Appender]) -> None:
    one = appender(events)
    wrong = pa.RecordBatch.from_pydict({"id": [{"a": 1}]})
    (answer,) = one.client.append_rows(iter([one.request(wrong, 0)]))
    assert answer.error.code == INVALID_ARGUMENT
    assert "struct" in answer.error.message
    assert one.append(pa.RecordBatch.from_pydict({"id": [1]}), 0) == [0]


def test_a_read_that_cannot_be(cloud: Endpoints, events: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    client = read_client()
    for options in (
        {"selected_fields": ["nothing"]},
        {"row_restriction": "nothing = 1"},
        {"row_restriction": "id; DROP"},
    ):
        session = types.ReadSession(
            table="projects/{}/datasets/{}/tables/{}".format(*events.split(".")),
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(**options),
        )
        with pytest.raises((InvalidArgument, NotFound), match=r"nothing|not allowed"):
            client.create_read_session(parent=f"projects/{PROJECT}", read_session=session)
    client.transport.close()


def test_a_condition_may_have_any_text(cloud: Endpoints, events: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    client = read_client()
    session = types.ReadSession(
        table="projects/{}/datasets/{}/tables/{}".format(*events.split(".")),
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(
            row_restriction=r"name = 'kafka://delete-events; --it\'s/0' OR `select` = 1"
        ),
    )
    assert client.create_read_session(parent=f"projects/{PROJECT}", read_session=session).name
    client.transport.close()


def test_a_defect_is_told_and_not_retried(client: bigquery.Client, events: str) -> None:
    with pytest.raises(InternalServerError, match=r"the local BigQuery failed.*ValueError"):
        client.insert_rows_json(events, [{"id": "no number"}])
