"""The query of `ledger_current`: of all lines about one thing, what the newest says.

Lines of a batch are about a source, or about the run: the newest counts. Lines of a stream are about ranges of offsets.
Later lines may reach into earlier ones: an engine went back to its checkpoint, or a tool set the group's offset. Each
offset belongs to the newest line that covers it. An earlier line keeps the pieces that no later one covers, so that
every offset is in exactly one line. What the records of a piece became is not known: its counts are its share of the
line's, rounded down so that they balance as before, and `shared` says so.

A line of a version before names no dataset, cluster or topic id: it belongs to the first that was named for its source.

Lines follow each other in sequences, one for each time that reading began. Only whole sequences are compared with
each line, not lines with lines: a day has 86,400 lines for each partition, and few sequences.
"""

from __future__ import annotations

from contracts.bookkeeping import LEDGER

__all__ = ["SINCE", "current_query"]

ABOUT = "kind, `table`, IFNULL(place, ''), source"
ENDLESS = 1 << 62
QUERY = f"""WITH identified AS (
  SELECT *,
    IF(`dataset` IS NULL, NULL, CONCAT(`dataset`, ' ', IFNULL(cluster, ''), ' ', IFNULL(topic_id, ''))) AS identity
  FROM {{ledger}}{{where}}
), placed AS (
  SELECT *,
    IFNULL(identity, SUBSTR(MIN(CONCAT(LPAD(CAST(UNIX_MICROS(recorded_at) AS STRING), 20, '0'), identity))
      OVER (PARTITION BY kind, `table`, source), 21)) AS place
  FROM identified
), numbered AS (
  SELECT *,
    ROW_NUMBER() OVER (PARTITION BY run_id, {ABOUT}, first_offset, last_offset,
      IF(first_offset IS NULL, NULL, recorded_at) ORDER BY recorded_at DESC) AS newest
  FROM placed
), ordered AS (
  SELECT *,
    first_offset != IFNULL(LAG(last_offset) OVER (PARTITION BY {ABOUT} ORDER BY recorded_at, first_offset), -2) + 1
      AS begins
  FROM numbered
  WHERE newest = 1
), sequenced AS (
  SELECT *,
    SUM(IF(begins, 1, 0)) OVER (PARTITION BY {ABOUT} ORDER BY recorded_at, first_offset
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS sequence
  FROM ordered
), later AS (
  SELECT kind AS later_kind, `table` AS later_table, IFNULL(place, '') AS later_place, source AS later_source,
    sequence AS later_sequence, MIN(first_offset) AS later_first, MAX(last_offset) AS later_last
  FROM sequenced WHERE first_offset IS NOT NULL GROUP BY 1, 2, 3, 4, 5
  UNION ALL
  SELECT kind, `table`, IFNULL(place, ''), source, {ENDLESS}, {ENDLESS}, {ENDLESS}
  FROM sequenced WHERE first_offset IS NOT NULL GROUP BY 1, 2, 3, 4
), cut AS (
  SELECT *,
    GREATEST(first_offset, IFNULL(MAX(later_last) OVER (
      PARTITION BY {ABOUT}, sequence, first_offset ORDER BY later_first, later_sequence
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1, 0)) AS piece_first,
    LEAST(last_offset, later_first - 1) AS piece_last
  FROM sequenced JOIN later
    ON later_kind = kind AND later_table = `table` AND later_source = source AND later_place = IFNULL(place, '')
  WHERE first_offset IS NOT NULL AND later_sequence > sequence
    AND (later_first = {ENDLESS} OR (later_first <= last_offset AND later_last >= first_offset))
), pieces AS (
  SELECT *,
    piece_first > first_offset OR piece_last < last_offset AS shared,
    (piece_last - piece_first + 1) / (last_offset - first_offset + 1) AS share
  FROM cut
  WHERE piece_first <= piece_last
)
SELECT {{columns}}, FALSE AS shared FROM numbered WHERE newest = 1 AND first_offset IS NULL
UNION ALL
SELECT {{pieces}}, shared FROM pieces"""


SINCE = "recorded_at >= @since"
"""For the lines of a run that began then: what is later than they are is later than that, too."""


def current_query(project: str, dataset: str, where: str = "") -> str:
    """Return the query: all columns of the ledger in `dataset`, and `shared`.

    `where` is the condition of the lines that it sees; a condition on `recorded_at` spares older partitions.
    """
    return QUERY.format(
        ledger=f"`{project}.{dataset}.ledger`",
        where=f" WHERE {where}" if where else "",
        columns=", ".join(f"`{name}`" for name in LEDGER.names),
        pieces=", ".join(_piece(name) for name in LEDGER.names),
    )


def _piece(name: str) -> str:
    """Return the expression of a column in a piece of a line."""
    doors = ("read", "duplicate", "dead_letter")
    floors = {door: f"CAST(FLOOR(`{door}` * share) AS INT64)" for door in doors}
    shared = {
        **floors,
        "written": f"{floors['read']} - {floors['duplicate']} - {floors['dead_letter']}"
        " - (`read` - written - duplicate - dead_letter)",
        "dead_letter_by_code": "NULL",
        "detail": "NULL",
    }
    if name in ("first_offset", "last_offset"):
        return f"piece_{name.removesuffix('_offset')} AS {name}"
    return f"IF(shared, {shared[name]}, `{name}`) AS `{name}`" if name in shared else f"`{name}`"
