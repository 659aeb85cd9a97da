"""The demo's questions to the warehouse, and what to try after it."""

from __future__ import annotations

__all__ = ["NEXT", "QUERIES", "SIZES"]

SIZES = {"customers": 1_000, "products": 500, "transactions": 10_000, "events": 15_000}
"""What the replaced system's generator made."""

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

NEXT = """Try next:
  python launcher.py query "SELECT * FROM pipeline_operations.ledger_current" --local
  python launcher.py query "SELECT error_message, raw FROM pipeline_operations.dead_letters LIMIT 5" --local
  python launcher.py batch --runner DirectRunner --local     # the same files again: all of it is duplicates
  python launcher.py batch --runner DirectRunner --local --input MY_FOLDER --contracts MY_CONTRACTS
"""
