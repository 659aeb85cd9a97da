"""What the pipelines themselves keep in the warehouse: ledger, dead letters, leases, write streams."""

from __future__ import annotations

from connectors.ddl import create_table, create_view
from connectors.leases import leases_spec
from connectors.ledger_table import CURRENT, LedgerTable, current_query, dead_letters_spec, ledger_spec
from connectors.warehouse import Warehouse
from connectors.write_streams import write_streams_spec

__all__ = ["SPECS", "ensure_operations", "operations_statements"]

SPECS = (ledger_spec, dead_letters_spec, leases_spec, write_streams_spec)


def ensure_operations(warehouse: Warehouse, dataset: str) -> None:
    """Make the data set and its tables where they are absent."""
    warehouse.ensure_dataset(dataset)
    for spec in SPECS:
        warehouse.ensure_table(spec(dataset))
    LedgerTable(warehouse, dataset).ensure_view()


def operations_statements(project: str, dataset: str) -> list[str]:
    """What `ensure_operations` makes in its data set, as SQL."""
    view = create_view(project, dataset, CURRENT, current_query(project, dataset))
    return [*(create_table(project, spec(dataset)) for spec in SPECS), view]
