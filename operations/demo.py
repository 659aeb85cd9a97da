"""The demo's questions to the warehouse, and what to try after it."""

from __future__ import annotations

__all__ = ["QUERIES", "next_steps"]


QUERIES = {
    "revenue by category": """
SELECT COALESCE(p.category, 'unknown') AS category, SUM(t.total_paid) AS revenue, COUNT(*) AS transactions
FROM ecommerce_data.transactions AS t LEFT JOIN ecommerce_data.products AS p ON p.product_id = t.product_id
GROUP BY category ORDER BY revenue DESC""",
    "funnel": """
SELECT event_type, COUNT(*) AS events, COUNT(DISTINCT customer_id) AS customers
FROM ecommerce_data.user_events GROUP BY event_type ORDER BY events DESC""",
    "dead letters": """
SELECT `table`, error_code, COUNT(*) AS dead_letters
FROM pipeline_operations.dead_letters GROUP BY `table`, error_code ORDER BY `table`, error_code""",
}


def next_steps(local: str) -> list[str]:
    """Return what to try next, in lines of at most 80 characters if `local` is just --local."""
    return [
        "Try next:",
        f"  python3 launcher.py query {local} \\",
        '      "SELECT * FROM pipeline_operations.ledger_current LIMIT 5"',
        f"  python3 launcher.py dead-letters list --run last --limit 5 {local}",
        "  # all of it on one page",
        f"  python3 launcher.py report --output report.html {local}",
        "  # the same files again: every record is a duplicate",
        f"  python3 launcher.py batch --runner DirectRunner {local}",
        "  # your own files",
        f"  python3 launcher.py batch --runner DirectRunner {local} \\",
        "      --input MY_FOLDER --contracts MY_CONTRACTS",
    ]
