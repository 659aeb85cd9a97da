"""`generate`: dirty raw files."""

from __future__ import annotations

import json
import os

from commands.arguments import add_local, parser
from commands.session import cloud
from connectors.files.storage import Storage, join
from console.terminal import Terminal
from contracts.errors import UsageError
from sample_data.generate import generate

__all__ = ["run"]


def run(argv: list[str], terminal: Terminal) -> int:
    """Run the command and return its exit code."""
    command = parser(
        "generate",
        "Generate raw files of the sample shop, dirty on purpose, and a manifest of what is in them.",
        "--output gs://ecommerce-data-lake/raw --local\n--output MY_FOLDER --customers 50 --dirty 0.1 --seed 7",
    )
    command.add_argument("--output", required=True, help="folder: gs://BUCKET/raw or a local one")
    for name, size in (("customers", 1000), ("products", 500), ("transactions", 10_000), ("events", 15_000)):
        command.add_argument(f"--{name}", type=int, default=size, help=f"records (default {size})")
    command.add_argument("--dirty", type=float, default=0.03, help="share of records with a defect (default 0.03)")
    command.add_argument("--seed", type=int, default=1, help="the same seed generates the same files")
    add_local(command)
    arguments = command.parse_args(argv)
    with cloud(arguments.local_dir, terminal=terminal, local=arguments.local):
        storage = Storage(os.environ.get("GOOGLE_CLOUD_PROJECT"))
        if arguments.output.startswith("gs://") and not storage.bucket_exists(arguments.output):
            if not arguments.local:
                raise UsageError(f"--output: there is no bucket {arguments.output.split('/')[2]}")
            storage.client.create_bucket(arguments.output.split("/")[2])

        sizes: dict[str, int] = {}

        def write(path: str, data: bytes) -> None:
            storage.write(join(arguments.output, path), data)
            sizes[path] = len(data)

        manifest = generate(
            write=write,
            customers=arguments.customers,
            products=arguments.products,
            transactions=arguments.transactions,
            events=arguments.events,
            dirty=arguments.dirty,
            seed=arguments.seed,
        )
        write("manifest.json", json.dumps(manifest, indent=2).encode())
        terminal.log(f"wrote {len(sizes)} files to {arguments.output}, {sum(sizes.values()):,} bytes")
    return 0
