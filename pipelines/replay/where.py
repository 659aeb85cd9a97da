"""`--where`: a condition on dead letters. It is parsed, and only what a condition on one row needs is accepted."""

from __future__ import annotations

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from connectors.bookkeeping.current_letters import letter_columns
from contracts.errors import UsageError

__all__ = ["condition"]

EXAMPLE = "such as \"error_code = 'missing_required' AND failed_at > '2026-01-31'\""
ACCEPTED = (
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Boolean,
    exp.Null,
    exp.Paren,
    exp.Neg,
    exp.And,
    exp.Or,
    exp.Not,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.In,
    exp.Between,
    exp.Like,
    exp.Cast,
    exp.DataType,
    exp.Lower,
    exp.Upper,
    exp.StartsWith,
    exp.EndsWith,
    exp.Length,
    exp.RegexpLike,
    exp.RawString,
    exp.ByteString,
    exp.Date,
    exp.Timestamp,
    exp.TimestampSub,
    exp.CurrentTimestamp,
    exp.CurrentDate,
    exp.Interval,
    exp.Var,
    exp.JSONExtractScalar,
    exp.JSONPath,
    exp.JSONPathRoot,
    exp.JSONPathKey,
)
"""The nodes of a condition: columns, literals, comparisons, and functions that read their arguments only."""


def condition(text: str) -> str:
    """Return the condition in GoogleSQL, as it is understood. Raises UsageError for anything else."""
    try:
        statements = parse(f"SELECT 1 FROM letters WHERE {text}", dialect="bigquery")
    except SqlglotError as error:
        reason = str(error).splitlines()[0].partition(". Line")[0]
        raise UsageError(f"--where: {reason}; give a condition {EXAMPLE}") from None
    except RecursionError:
        raise UsageError(f"--where: too many parentheses in each other; give a condition {EXAMPLE}") from None
    tree = statements[0]
    if (
        len(statements) != 1
        or not isinstance(tree, exp.Select)
        or set(_parts(tree)) - {"expressions", "from_", "where"}
    ):
        raise UsageError(f"--where: one condition and nothing behind it, {EXAMPLE}")
    where = tree.args["where"].this
    known = letter_columns()
    for node in where.walk():
        if not isinstance(node, ACCEPTED):
            raise UsageError(f"--where: {node.sql(dialect='bigquery')[:60]} is not accepted in a condition; {EXAMPLE}")
        if isinstance(node, exp.Column) and (node.table or node.name not in known):
            raise UsageError(f"--where: there is no column {node.sql()[:60]}; there are {', '.join(known)}")
    return str(where.sql(dialect="bigquery", comments=False))


def _parts(tree: exp.Select) -> set[str]:
    return {name for name, value in tree.args.items() if value}
