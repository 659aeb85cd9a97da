"""The condition of a replay: what is understood, and what is refused in one line."""

from __future__ import annotations

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from connectors.bookkeeping.current_letters import letter_columns
from contracts.errors import UsageError
from pipelines.replay.selection import Selection
from pipelines.replay.where import condition


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("error_code = 'missing_required' -- why", "error_code = 'missing_required'"),
        ("`table` in ('a', 'b') or not recoverable", "`table` IN ('a', 'b') OR NOT recoverable"),
        ("failed_at > timestamp_sub(current_timestamp(), interval 2 day)", None),
        ("failed_at between '2026-01-01' and timestamp '2026-02-01'", None),
        ("date(failed_at) = '2026-01-01' and field is null", None),
        ("starts_with(source, 'gs://b/') and position >= 10", None),
        ("regexp_contains(error_message, r'^price')", None),
        ("json_value(attributes, '$.key') = 'a'", None),
        ("state = 'open' and retry_count < 3", None),
        ("lower(error_message) like '%price%'", None),
    ],
)
def test_conditions(text: str, understood: str | None) -> None:
    sql = condition(text)
    assert understood is None or sql == understood
    assert condition(sql) == sql


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "--where: "),
        ("(error_code", "--where: Expecting )"),
        ("1 = 1; DROP TABLE x", "one condition and nothing behind it"),
        ("TRUE LIMIT 3", "one condition and nothing behind it"),
        ("TRUE GROUP BY 1", "one condition and nothing behind it"),
        ("TRUE UNION ALL SELECT 2", "one condition and nothing behind it"),
        ("position IN (SELECT 1)", "(SELECT 1) is not accepted"),
        ("EXISTS (SELECT 1)", "EXISTS(SELECT 1) is not accepted"),
        ("ERROR('x')", "ERROR('x') is not accepted"),
        ("SESSION_USER() = 'x'", "SESSION_USER() is not accepted"),
        ("error_code = @code", "@code is not accepted"),
        ("eror_code = 'x'", "there is no column eror_code; there are dead_letter_id, table,"),
        ("letters.error_code = 'x'", "there is no column letters.error_code"),
        ("(" * 3_000 + "TRUE" + ")" * 3_000, "--where: too many parentheses in each other"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        condition(text)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """What is understood is one condition: no statement, no other table, nothing behind it."""
    try:
        sql = condition(text)
    except UsageError:
        return
    (tree,) = sqlglot.parse(f"SELECT 1 FROM letters WHERE {sql}", dialect="bigquery")
    assert tree is not None
    assert len(list(tree.find_all(sqlglot.exp.Select))) == len(list(tree.find_all(sqlglot.exp.Table))) == 1
    assert {column.name for column in tree.find_all(sqlglot.exp.Column)} <= set(letter_columns())


@pytest.mark.parametrize(
    ("where", "prunes"), [("", False), ("first_failed_at > '2026-01-01'", False), ("failed_at > '2026-01-01'", True)]
)
def test_a_condition_on_the_day_of_refusal_spares_the_other_days(where: str, prunes: bool) -> None:
    assert Selection(where, None, None, None, again=False).prunes is prunes
