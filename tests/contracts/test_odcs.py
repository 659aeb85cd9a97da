"""Contracts into tables: what is understood, what is accepted unread, and that nothing else passes."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import UsageError
from contracts.odcs.documentation import markdown
from contracts.odcs.problems import ContractError
from contracts.odcs.tables import load, shipped
from contracts.schemas import arrow_schema, bigquery_schema
from contracts.table import Column, CsvDialect, Kind, PartitionBy, ServiceLevel, Table, UnknownFields, WriteDisposition
from tests.contracts.small_contract import contract, load_one, property_of

FOLDER = Path(__file__).parent / "odcs"
FILES = sorted(FOLDER.glob("*.odcs.yaml"))

NUMERIC_TYPE = pl.Decimal(38, 9)
STRING, INTEGER, NUMERIC, TIMESTAMP = Kind.STRING, Kind.INTEGER, Kind.NUMERIC, Kind.TIMESTAMP


def read(name: str) -> Table:
    """The one table of a file in the test data."""
    (table,) = load([(name, (FOLDER / name).read_text(encoding="utf-8"))]).values()
    return table


def test_shipped_tables_are_those_of_the_domain() -> None:
    columns = {
        "customers": (
            "customer_id* STRING, email* STRING, first_name STRING, last_name STRING, age INTEGER, gender STRING, "
            "city STRING, country STRING, registration_date TIMESTAMP, full_name STRING"
        ),
        "products": (
            "product_id* STRING, name* STRING, category STRING, subcategory STRING, brand STRING, price NUMERIC, "
            "cost NUMERIC, stock_quantity INTEGER, profit_margin NUMERIC"
        ),
        "transactions": (
            "transaction_id* STRING, customer_id* STRING, product_id* STRING, quantity INTEGER, unit_price NUMERIC, "
            "total_amount NUMERIC, discount NUMERIC, transaction_date TIMESTAMP, payment_method STRING, "
            "shipping_address STRING, total_paid NUMERIC"
        ),
        "user_events": (
            "event_id* STRING, customer_id* STRING, product_id STRING, event_type* STRING, event_timestamp* TIMESTAMP, "
            "session_id STRING, page_url STRING, user_agent STRING, event_hour INTEGER"
        ),
    }
    for name in ("transactions", "user_events"):
        columns[f"{name}_streaming"] = columns[name]
    found = {
        name: ", ".join(f"{c.name}{'*' if c.required else ''} {c.kind.value}" for c in table.columns)
        for name, table in shipped().items()
    }
    assert found == columns


@pytest.mark.parametrize(
    ("table", "key", "partition", "clustering", "disposition", "dataset"),
    [
        ("customers", "customer_id", None, (), WriteDisposition.MERGE, "ecommerce_data"),
        ("products", "product_id", None, (), WriteDisposition.MERGE, "ecommerce_data"),
        *(
            (name, "transaction_id", "transaction_date", ("customer_id", "product_id"), WriteDisposition.APPEND, where)
            for name, where in (("transactions", "ecommerce_data"), ("transactions_streaming", "ecommerce_streaming"))
        ),
        *(
            (name, "event_id", "event_timestamp", ("event_type", "customer_id"), WriteDisposition.APPEND, where)
            for name, where in (("user_events", "ecommerce_data"), ("user_events_streaming", "ecommerce_streaming"))
        ),
    ],
)
def test_shipped_tables_are_laid_out_as_the_domain_says(
    table: str,
    key: str,
    partition: str | None,
    clustering: tuple[str, ...],
    disposition: WriteDisposition,
    dataset: str,
) -> None:
    found = shipped()[table]
    assert (found.primary_key, found.partition, found.clustering) == ((key,), partition, clustering)
    assert (found.disposition, found.dataset, found.unknown_fields) == (disposition, dataset, UnknownFields.IGNORE)
    assert (found.version_by, found.csv) == (None, CsvDialect())
    assert found.contract_version == "1.0.0"


def test_shipped_rules_are_those_of_the_domain() -> None:
    tables = shipped()
    zero = Decimal(0)
    ranges = {
        (table.name, c.name): (c.minimum, c.maximum, c.exclusive_minimum, c.exclusive_maximum)
        for table in (tables[name] for name in ("customers", "products", "transactions", "user_events"))
        for c in table.columns
        if (c.minimum, c.maximum, c.exclusive_minimum, c.exclusive_maximum) != (None,) * 4
    }
    assert ranges == {
        ("customers", "age"): (zero, Decimal(130), None, None),
        ("products", "price"): (zero, None, None, None),
        ("products", "cost"): (zero, None, None, None),
        ("products", "stock_quantity"): (zero, None, None, None),
        ("transactions", "quantity"): (None, None, zero, None),
        ("transactions", "unit_price"): (zero, None, None, None),
        ("transactions", "total_amount"): (zero, None, None, None),
        ("transactions", "discount"): (zero, Decimal(1), None, None),
        ("user_events", "event_hour"): (zero, Decimal(23), None, None),
    }
    emails = [(table.name, c.name) for table in tables.values() for c in table.columns if c.email]
    assert emails == [("customers", "email")]
    enums = {c.enum for table in tables.values() for c in table.columns if c.enum}
    assert enums == {("page_view", "add_to_cart", "remove_from_cart", "purchase", "search")}


def test_shipped_expressions_compute_what_the_domain_says() -> None:
    tables = shipped()

    def computed(table: str, column: str, **values: list[Any]) -> list[Any]:
        kinds = {c.name: NUMERIC_TYPE if c.kind is NUMERIC else None for c in tables[table].columns}
        frame = pl.DataFrame([pl.Series(name, given, dtype=kinds[name]) for name, given in values.items()])
        return frame.select(pl.sql_expr(tables[table].column(column).derived or "")).to_series().to_list()

    paid = computed(
        "transactions",
        "total_paid",
        quantity=[1, 1, 3, 2, None],
        unit_price=[Decimal("0.125"), Decimal("3.015"), Decimal("9.99"), Decimal("0.1"), Decimal(1)],
        discount=[None, Decimal(0), Decimal("0.15"), Decimal(1), Decimal(0)],
    )
    assert paid == [Decimal("0.13"), Decimal("3.02"), Decimal("25.47"), Decimal(0), None]
    names = computed(
        "customers", "full_name", first_name=["A", None, "A", "", None], last_name=["B", "B", "", "", None]
    )
    assert names == ["A B", "B", "A", None, None]
    margin = computed("products", "profit_margin", price=[Decimal("0.3"), None], cost=[Decimal("0.1"), Decimal(1)])
    assert margin == [Decimal("0.2"), None]
    hours = computed("user_events", "event_hour", event_timestamp=[datetime(2024, 1, 1, 23, 59, tzinfo=UTC), None])
    assert hours == [23, None]


def test_informational_sections_change_nothing() -> None:
    assert read("every_section.odcs.yaml") == Table(
        name="payments",
        columns=(
            Column(
                "reference",
                STRING,
                required=True,
                max_length=18,
                description="Refers to the payment (classification: restricted)",
                classification="restricted",
            ),
            Column("day", Kind.DATE, description="(classification: public)", classification="public"),
            Column("country", STRING, max_length=2),
        ),
        primary_key=("reference",),
        partition="day",
        contract_id="6f2f7c1e-payments",
        contract_version="2.3.1",
        description="Payments that were settled.",
        service_levels=(ServiceLevel("latency of day", is_latency=True, seconds=4 * 86_400, path=("day",)),),
    )


def test_every_supported_type_and_option() -> None:
    table = read("every_type.odcs.yaml")
    assert table.primary_key == ("booked_on", "account_id")
    assert table.columns == (
        Column("account_id", STRING, required=True, min_length=11, max_length=11, pattern="^ACC[0-9]{8}$"),
        Column("booked_on", Kind.DATE, required=True, earliest="2020-01-02", latest="2021-01-01"),
        Column("booked_at", TIMESTAMP, earliest="2020-01-01T00:00:00+00:00", latest="2020-12-31T13:59:59.999999+00:00"),
        Column("amount", NUMERIC, minimum=Decimal("-99999999999999999999.123456789"), exclusive_maximum=Decimal("0.1")),
        Column("rate", Kind.FLOAT),
        Column("share", Kind.FLOAT),
        Column("price", NUMERIC),
        Column("age", INTEGER, minimum=Decimal(18), exclusive_maximum=Decimal(100)),
        Column("tiny", INTEGER, minimum=Decimal(1), maximum=Decimal(255)),
        Column("priority", INTEGER, enum=("1", "-2")),
        Column("status", STRING, enum=("pending", "NO")),
        Column("contact", STRING, max_length=40, email=True),
        Column("is_open", Kind.BOOLEAN),
        Column("street_lines", STRING, repeated=True, max_length=80),
        Column(
            "details",
            Kind.RECORD,
            fields=(
                Column("num_children", INTEGER, required=True),
                Column(
                    "date_of_birth",
                    Kind.DATE,
                    source=("Date Of Birth",),
                    description="(classification: personal)",
                    classification="personal",
                ),
            ),
        ),
        Column(
            "lines",
            Kind.RECORD,
            required=True,
            repeated=True,
            fields=(
                Column("sku", STRING, required=True, source=("article", "sku")),
                Column("tags", STRING, repeated=True),
            ),
        ),
    )


def test_every_custom_property() -> None:
    assert read("every_custom_property.odcs.yaml") == Table(
        name="orders",
        columns=(
            Column("order_id", INTEGER, required=True, source=("Order No.",)),
            Column("customer", STRING, source=("user", "id")),
            Column("city", STRING, source=("address", "city.name")),
            Column("quantity", INTEGER, exclusive_minimum=Decimal(0), maximum=Decimal(10)),
            Column("updated_at", TIMESTAMP),
            Column("updated_on", Kind.DATE, required=True, derived="CAST(updated_at AS DATE)"),
        ),
        primary_key=("order_id",),
        partition="updated_on",
        clustering=("customer", "order_id"),
        disposition=WriteDisposition.REPLACE,
        unknown_fields=UnknownFields.KEEP,
        version_by="updated_at",
        dataset="sales",
        csv=CsvDialect(";", "'", "iso8859-1", ("NULL", "-")),
        contract_id="orders",
        contract_version="0.1.0",
    )


@pytest.mark.parametrize("table", [*shipped().values(), *(read(file.name) for file in FILES)], ids=lambda t: t.name)
def test_tables_are_hashable_and_survive_pickling(table: Table) -> None:
    assert pickle.loads(pickle.dumps(table)) == table
    assert len({table, pickle.loads(pickle.dumps(table))}) == 1


def test_one_file_may_hold_tables_that_share_columns_by_anchor() -> None:
    text = """
        apiVersion: v3.1.0
        kind: DataContract
        id: a
        version: 1.0.0
        schema:
          - name: one
            properties: &columns
              - {name: id, logicalType: string, primaryKey: true}
          - name: two
            properties: *columns
    """
    tables = load([("a.odcs.yaml", text)])
    assert tables["one"].columns == tables["two"].columns


def test_primary_key_follows_the_positions() -> None:
    document = contract()
    property_of(document, "sale_id")["primaryKeyPosition"] = 2
    property_of(document, "n").update(primaryKey=True, primaryKeyPosition=1, required=False)
    table = load_one(document)
    assert table.primary_key == ("n", "sale_id")
    assert table.column("n").required


def test_primary_key_without_positions_follows_the_contract() -> None:
    document = contract()
    property_of(document, "n")["primaryKey"] = True
    assert load_one(document).primary_key == ("sale_id", "n")


def test_the_only_required_and_unique_property_is_the_key() -> None:
    document = contract()
    property_of(document, "sale_id").pop("primaryKey")
    property_of(document, "n").update(required=True, unique=True)
    assert load_one(document).primary_key == ("n",)


@pytest.mark.parametrize(
    ("logical", "physical", "kind"),
    [
        ("number", None, NUMERIC),
        ("number", "decimal", NUMERIC),
        ("number", "FLOAT64", Kind.FLOAT),
        ("number", "double precision", Kind.FLOAT),
        ("number", "money", NUMERIC),
        ("integer", "BIGINT", INTEGER),
        ("string", "uuid", STRING),
        ("string", "VARCHAR(MAX)", STRING),
        ("boolean", "Bool", Kind.BOOLEAN),
    ],
)
def test_physical_type_decides_between_numeric_and_float(logical: str, physical: str | None, kind: Kind) -> None:
    document = contract()
    property_of(document, "n").update(logicalType=logical, physicalType=physical)
    property_of(document, "total")["transformLogic"] = "amount"
    assert load_one(document).column("n").kind is kind


@pytest.mark.parametrize(
    ("name", "logic"),
    [
        ("number", "amount - n"),
        ("number", "ROUND(n * amount * (1 - COALESCE(amount, 0)), 2)"),
        ("number", "amount / NULLIF(n, 0)"),
        ("string", "NULLIF(CONCAT_WS(' ', NULLIF(sale_id, ''), sale_id), '')"),
        ("string", "sale_id || ' SELECT now() OVER () '"),
        ("string", "who.city"),
        ("integer", "EXTRACT(HOUR FROM at)"),
        ("integer", "ARRAY_LENGTH(tags)"),
        ("date", "CAST(at AS DATE)"),
        ("boolean", "n IN (1, 2) AND open"),
        ("timestamp", "COALESCE(at, at)"),
        ("integer", "n - current_stock"),
        ("number", "CASE WHEN n * amount > 1 THEN amount ELSE 0 END"),
    ],
)
def test_expressions_over_the_columns_of_a_row_are_derived_columns(name: str, logic: str) -> None:
    document = contract()
    property_of(document, "total").update(logicalType=name, transformLogic=logic)
    assert load_one(document).column("total").derived == logic


def paths_in(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a document."""
    found = [path] if path else []
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in members:
        found += paths_in(value, (*path, key))
    return found


DOCUMENTS = [contract(), *(yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES)]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats()
    | st.sampled_from(["", "a", "number", "date", "${X}"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "a", "value"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_other_value_anywhere_is_understood_or_refused_in_one_line(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    path = data.draw(st.sampled_from(paths_in(document)))
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = data.draw(JUNK)
    message = refusal(yaml.safe_dump(document))
    assert all(line.startswith("a.odcs.yaml: ") for line in (message or "a.odcs.yaml: ").split("\n"))


def refusal(text: str) -> str | None:
    """What is said about a contract; None if it is understood, and then its tables can be used."""
    try:
        tables = load([("a.odcs.yaml", text)])
    except UsageError as refused:
        return str(refused)
    for table in tables.values():
        assert hash(table) is not None
        assert arrow_schema(table).names
        assert [field.name for field in bigquery_schema(table)] == arrow_schema(table).names
    return None


def test_what_a_run_does_not_check_is_noted() -> None:
    document = contract()
    table, n = property_of(document, ""), property_of(document, "n")
    table["quality"] = [{"type": "text", "description": "complete"}]
    table["relationships"] = [{"type": "foreignKey", "from": "sales.n", "to": "others.n"}]
    table["customProperties"] = [{"property": "business-key", "value": ["n"]}]
    n |= {"transformLogic": "sel a from b", "transformSourceObjects": ["b"]}
    loaded = load_one(document)
    assert loaded.column("n").derived is None
    assert [note.split(": construct ")[-1].split(" (")[0] for note in loaded.notes] == [
        "'transformLogic' is about other tables",
        "construct 'customProperties business-key' is for other tools; supported here: "
        "dataset, writeDisposition, unknownFields, versionBy, clustering, partition, csv, identity, recordsPath, files",
        "construct 'relationships' to others.n is not checked: no contract here has that table",
    ]
    assert loaded.rules == ()


MANY = """apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
schema:
  - name: sales
    customProperties:
      - {property: csv, value: {delimiter: "::"}}
      - property: wrietDisposition
        value: merge
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - name: at
        logicalType: timestamp
        physicalType: GEOGRAPHY
        map: {a: 1}
        customProperties:
          - property: epochs
            value: s
      - name: box
        logicalType: object
        properties:
          - {name: a, logicalType: strng}
          - name: b
            logicalType: array
            items:
              logicalType: date
              logicalTypeOptions: {format: YYYY}
  - name: others
    properties:
      - {name: id, logicalType: integer, primaryKey: true, primaryKeyPosition: 3}
"""


def test_all_problems_of_a_file_come_at_once_each_with_its_line() -> None:
    with pytest.raises(ContractError) as caught:
        load([("shop.odcs.yaml", MANY)])
    problems = [line.split("construct ")[1] for line in str(caught.value).split("\n")]
    assert [(text.split("'")[1], int(text.rpartition("line ")[2].rstrip(")"))) for text in problems] == [
        ("customProperties wrietDisposition", 9),
        ("physicalType", 15),
        ("map", 16),
        ("customProperties epochs", 18),
        ("logicalType", 23),
        ("logicalTypeOptions.format", 28),
        ("primaryKeyPosition", 29),
    ]


def test_partitions_have_a_span_an_expiration_and_a_filter() -> None:
    document = contract()
    property_of(document, "at")["partitioned"] = True
    assert load_one(document).partition_by is PartitionBy.DAY
    value = {"by": "hour", "expirationDays": 30, "requireFilter": True}
    property_of(document, "")["customProperties"] = [{"property": "partition", "value": value}]
    table = load_one(document)
    assert (table.partition, table.partition_by) == ("at", PartitionBy.HOUR)
    assert (table.partition_expiration_days, table.require_partition_filter) == (30, True)
    facts = "partitioned by hour of `at`; partitions are dropped after 30 days; queries need a condition on it"
    assert facts in markdown(table)
