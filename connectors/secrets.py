"""References to secrets: `env:NAME`, `file:PATH` or `secret:projects/P/secrets/S/versions/V` (Secret Manager).

Options and files name a secret and never hold it. It is read when it is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import UsageError

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

__all__ = ["REFERENCES", "Secret", "check_reference", "read_secret", "read_unchanged"]

REFERENCES = ("env:", "file:", "secret:")


class Secret(str):
    """A string whose repr hides it: clients log their settings."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[secret]'"


def check_reference(what: str, text: str) -> str:
    """Return the text if it is a reference, else raise UsageError, without the text: it may be the secret itself."""
    if not text.startswith(REFERENCES):
        raise UsageError(f"{what} must be a reference: env:NAME, file:PATH or secret:projects/…")
    return text


def read_secret(what: str, reference: str, client: SecretManagerServiceClient | None = None) -> Secret:
    """Return the secret that the reference names, of a file without its last line breaks.

    Raises UsageError, which begins with `what`, if it is missing.
    """
    if reference.startswith("secret:"):
        return _from_secret_manager(reference.removeprefix("secret:"), client)
    text = read_unchanged(what, reference)
    return Secret(text.rstrip("\n") if reference.startswith("file:") else text)


def read_unchanged(what: str, reference: str) -> str:
    """Return the unchanged content of an environment variable or a file. Raises UsageError if it is missing."""
    kind, _, where = reference.partition(":")
    try:
        return os.environ[where] if kind == "env" else Path(where).read_text()
    except KeyError:
        raise UsageError(f"{what}: the environment variable {where} is not set") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what}: {where} cannot be read: {error}") from None


def _from_secret_manager(name: str, client: SecretManagerServiceClient | None) -> Secret:
    from google.cloud.secretmanager import SecretManagerServiceClient

    version = name if "/versions/" in name else f"{name}/versions/latest"
    answer = (client or SecretManagerServiceClient()).access_secret_version(name=version, timeout=20)
    return Secret(answer.payload.data.decode())
