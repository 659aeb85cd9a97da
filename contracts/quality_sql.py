"""The statements that measure quality rules: GoogleSQL, over the rows that a run has loaded.

`rows` is a FROM item of those rows, `condition` what selects them. It names the run and the partitions that the run has
loaded, so BigQuery reads no other partition, and of those only the columns of the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal

from contracts.quality import Listed, Metric, Rule, Target
from contracts.schemas import quote
from contracts.table import Column, Kind, Table

__all__ = ["TOTAL", "library_query", "orphans_query", "sql_query", "value_name"]

TOTAL = "total"
NUMBERS = (Kind.INTEGER, Kind.FLOAT, Kind.NUMERIC, Kind.BIGNUMERIC)
VARIABLE = re.compile(r"\$?\{(object|property)\}")


def value_name(number: int) -> str:
    """Return the name of the value of a rule in the row of `library_query`, by its position."""
    return f"value_{number}"


def library_query(table: Table, path: str, condition: str, rules: Sequence[Rule]) -> str:
    """Return the query of one row: the number of rows, and a count for each rule of the library."""
    counts = [f"{_count(table, rule)} AS {value_name(number)}" for number, rule in enumerate(rules)]
    return f"SELECT {', '.join([f'COUNT(*) AS {TOTAL}', *counts])} FROM {path} WHERE {condition}"


def orphans_query(path: str, condition: str, rule: Rule, target: Target, target_path: str, every: str) -> str:
    """Return the query of the number of rows whose values (none of them null) no row of the target has.

    `every` is a condition that all rows of the target meet.
    """
    own = [f"loaded.{_path(column)}" for column in rule.columns]
    keys = [f"key_{number}" for number in range(len(own))]
    selected = ", ".join(f"{_path(column)} AS {key}" for column, key in zip(target.columns, keys, strict=True))
    equal = " AND ".join(f"{value} = target.{key}" for value, key in zip(own, keys, strict=True))
    stated = " AND ".join(f"{value} IS NOT NULL" for value in own)
    return (
        f"SELECT COUNT(*) AS value FROM (SELECT * FROM {path} WHERE {condition}) AS loaded"
        f" LEFT JOIN (SELECT DISTINCT {selected} FROM {target_path} WHERE {every}) AS target ON {equal}"
        f" WHERE {stated} AND target.{keys[0]} IS NULL"
    )


def sql_query(table: Table, path: str, condition: str, rule: Rule) -> str:
    """Return the query of a rule of type sql: `{object}` is a name for the loaded rows, `{property}` a column."""
    column = ".".join(rule.columns[0]) if rule.columns else ""
    names = {"object": table.name, "property": column}
    query = VARIABLE.sub(lambda match: names[match[1]] or match[0], rule.query).strip().rstrip(";")
    return f"WITH {quote(table.name)} AS (SELECT * FROM {path} WHERE {condition})\nSELECT * FROM (\n{query}\n)"


def _count(table: Table, rule: Rule) -> str:
    if rule.metric is Metric.ROW_COUNT:
        return "COUNT(*)"
    if rule.metric is Metric.DUPLICATE_VALUES:
        return _duplicates(rule)
    path, column = _path(rule.columns[0]), _column(table, rule.columns[0])
    if rule.metric is Metric.NULL_VALUES:
        return f"COUNTIF({path} IS NULL)"
    if rule.metric is Metric.MISSING_VALUES:
        return f"COUNTIF({_among(path, column, rule.values)})"
    valid = [_among(path, column, rule.values)] if rule.values else []
    if rule.pattern is not None:
        valid.append(f"REGEXP_CONTAINS({_text(path, column)}, {_literal(rule.pattern)})")
    return f"COUNTIF(NOT ({' AND '.join(valid)}))"


def _duplicates(rule: Rule) -> str:
    """Count the rows whose values an earlier row has. A row with a null among them is like no other."""
    paths = [_path(column) for column in rule.columns]
    if len(paths) == 1:
        return f"COUNT({paths[0]}) - COUNT(DISTINCT {paths[0]})"
    missing = " OR ".join(f"{path} IS NULL" for path in paths)
    values = f"IF({missing}, NULL, TO_JSON_STRING([{', '.join(f'TO_JSON_STRING({path})' for path in paths)}]))"
    return f"COUNT({values}) - COUNT(DISTINCT {values})"


def _among(path: str, column: Column, values: Sequence[Listed]) -> str:
    """Return the condition that a value is one of a list. A number is compared as one if the column is a number."""
    conditions = [f"{path} IS NULL"] if None in values else []
    numbers = [value for value in values if isinstance(value, Decimal) and column.kind in NUMBERS]
    texts = [value for value in values if value is not None and value not in numbers]
    if numbers:
        conditions.append(f"{path} IN ({', '.join(format(number, 'f') for number in numbers)})")
    if texts:
        listed = ", ".join(_literal(format(text, "f") if isinstance(text, Decimal) else text) for text in texts)
        conditions.append(f"{_text(path, column)} IN ({listed})")
    return f"({' OR '.join(conditions)})"


def _text(path: str, column: Column) -> str:
    if column.kind is Kind.STRING:
        return path
    return f"TO_JSON_STRING({path})" if column.kind is Kind.JSON else f"CAST({path} AS STRING)"


def _column(table: Table, path: Sequence[str]) -> Column:
    column = table.column(path[0])
    for name in path[1:]:
        column = next(field for field in column.fields if field.name == name)
    return column


def _path(names: Sequence[str]) -> str:
    return ".".join(map(quote, names))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
