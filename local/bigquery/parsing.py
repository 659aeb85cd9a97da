"""Patches of how bqemulator translates a statement for DuckDB: arrays are indexed rightly, and work is done once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from bqemulator.catalog import ddl_sync
from bqemulator.jobs import executor
from bqemulator.sql.translator import SQLTranslator
from sqlglot.dialects.bigquery import BigQuery
from sqlglot.dialects.dialect import Dialect
from sqlglot.expressions import Bracket, Expression, Literal, cast

from local.bigquery.patching import patch

__all__ = ["apply"]

KEPT = 256
"""The number of statements whose trees, and whose translations, are kept."""

V = TypeVar("V")
Trees = list[Expression | None]


def apply() -> None:
    """Apply the patches."""
    index_arrays_by_any_expression()
    parse_once()
    decide_once()
    translate_once()


def index_arrays_by_any_expression() -> None:
    """Upstream `a[OFFSET(i)]` is the element before the right one unless `i` is a literal: DuckDB counts from 1, and
    sqlglot adds the 1 to an index only if it knows that it is an integer. With the patch each index is cast to one.
    """

    def casting(parse: Callable[..., Trees]) -> Callable[..., Trees]:
        def parse_and_cast(dialect: Dialect, sql: str, **options: Any) -> Trees:
            trees = parse(dialect, sql, **options)
            for tree in trees if isinstance(dialect, BigQuery) else ():
                for bracket in tree.find_all(Bracket) if tree else ():
                    if bracket.args.get("offset") is not None:
                        indexes = [
                            each if isinstance(each, Literal) else cast(each, "INT64", dialect="bigquery")
                            for each in bracket.expressions
                        ]
                        bracket.set("expressions", indexes)
            return trees

        return parse_and_cast

    patch(Dialect, "parse", casting)


def parse_once() -> None:
    """Upstream, about 17 steps parse a statement, most of them the same text, and a view's query is a part of that
    text. Parsing is half of what a query costs. With the patch a text is parsed once and each step gets a copy, which
    costs a tenth. A text that cannot be parsed is parsed again by the next step, and raises again.
    """

    def remembering(parse: Callable[..., Trees]) -> Callable[..., Trees]:
        known = _Recent[Trees]()

        def parse_or_copy(dialect: Dialect, sql: str, **options: Any) -> Trees:
            if dialect.settings or any(value is not None for value in options.values()):
                return parse(dialect, sql, **options)
            trees = known.get((type(dialect), sql), lambda: parse(dialect, sql, **options))
            return [tree and tree.copy() for tree in trees]

        return parse_or_copy

    patch(Dialect, "parse", remembering)


def decide_once() -> None:
    """Upstream, each statement is parsed again by every step that asks whether it is a CREATE or a DROP, and by those
    that ask whether it changes a table that cannot be changed. The answers depend on the text only, so the patch keeps
    them; a SELECT changes nothing.
    """

    def remembering(decide: Callable[..., Any]) -> Callable[..., Any]:
        known = _Recent[Any]()
        return lambda sql, *more: known.get((sql, *more), lambda: decide(sql, *more))

    def of_changes(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(project: str, sql: str, context: Any) -> Any:
            return None if executor.classify_statement_type(sql) == "SELECT" else step(project, sql, context)

        return run

    def of_changes_later(step: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def run(project: str, sql: str, context: Any) -> None:
            if executor.classify_statement_type(sql) != "SELECT":
                await step(project, sql, context)

        return run

    for kind in ("catalog_drop", "create_schema", "plain_create_table", "plain_create_view"):
        patch(ddl_sync, f"_detect_{kind}", remembering)
    for name in ("classify_statement_type", "detect_drop_routine"):
        patch(executor, name, remembering)
    patch(executor, "_reject_dml_on_immutable", of_changes)
    patch(executor, "_capture_dml_snapshots", of_changes_later)


def translate_once() -> None:
    """Upstream translates a statement each time that it runs. A translation depends on the text, the columns of the
    tables and the caller only, all of which are arguments, so the patch keeps it. Tests and status lines ask the same
    question many times.
    """

    def remembering(translate: Callable[..., Any]) -> Callable[..., Any]:
        known = _Recent[Any]()

        def translate_or_remember(translator: SQLTranslator, sql: str, **arguments: Any) -> Any:
            key = type(translator), sql, repr(sorted(arguments.items()))
            return known.get(key, lambda: translate(translator, sql, **arguments))

        return translate_or_remember

    def qualifying(qualify: Callable[[str, str], str]) -> Callable[[str, str], str]:
        known = _Recent[str]()
        return lambda sql, project: known.get((sql, project), lambda: qualify(sql, project))

    patch(SQLTranslator, "translate", remembering)
    patch(executor, "rewrite_table_refs", qualifying)


class _Recent(Generic[V]):
    """The values of the KEPT keys that were asked for last."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return the value of a key, made if it is not known. What `make` raises is not kept."""
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > KEPT:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]
