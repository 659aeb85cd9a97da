"""`--kafka_config FILE`: Kafka's Java property names, translated for the Python client, secrets as references.

The file never holds a secret, only a reference to it (connectors/secrets.py). The secret is read when a client is
created.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.files.storage import FileChanged
from connectors.secrets import REFERENCES, check_reference, read_secret, read_unchanged
from contracts.errors import UsageError

if TYPE_CHECKING:
    from google.cloud.secretmanager import SecretManagerServiceClient

__all__ = ["KafkaConfig", "java_consumer", "parse_properties"]

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
OPTION = "--kafka_config"
SERVER = re.compile(r"([^\s:/]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
JAAS = re.compile(r"\s*[\w.]+\s+required\b(?P<options>.*);\s*", re.DOTALL)
JAAS_OPTION = re.compile(r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s;]+))""")


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """The address of Kafka, and the properties of the file: Java names, secrets as references."""

    bootstrap_servers: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, bootstrap_servers: str | None, file: str | None, read: Callable[[str], bytes]) -> KafkaConfig:
        """Read `file`, the value of --kafka_config; `bootstrap_servers` overrides the servers that it names.

        Raises UsageError for a file that cannot be read, a property that the Python client does not know, a value
        that it does not accept, a secret that is not a reference, and if no server is given.
        """
        try:
            properties = parse_properties(read(file).decode()) if file else {}
        except (FileChanged, OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--kafka_config {file}: cannot be read: {error}") from None
        servers = bootstrap_servers or properties.get("bootstrap.servers")
        if not servers:
            raise UsageError("--bootstrap_servers is missing: HOST:PORT of a Kafka broker")
        for server in servers.split(","):
            if not SERVER.fullmatch(server):
                raise UsageError(f"--bootstrap_servers: {server!r} is not HOST:PORT")
        config = cls(servers, {name: value for name, value in properties.items() if name != "bootstrap.servers"})
        config._translated(lambda name, value: check_reference(f"{OPTION}: {name}", value))
        return config

    def settings(self, secrets: SecretManagerServiceClient | None = None) -> dict[str, object]:
        """Return the settings for kafka-python, with secrets. Raises UsageError if a secret or a file is missing."""
        settings = self._translated(lambda name, value: read_secret(f"{OPTION}: {name}", value, secrets))
        for file in (settings.get("ssl_cafile"), settings.get("ssl_certfile")):
            if file is not None and not Path(str(file)).is_file():
                raise UsageError(f"--kafka_config: there is no file {file}")
        return {"bootstrap_servers": self.bootstrap_servers.split(",")} | settings

    def _translated(self, secret: Callable[[str, str], str]) -> dict[str, object]:
        settings: dict[str, object] = {}
        for name, value in self.properties.items():
            if name not in TRANSLATIONS:
                raise UsageError(
                    f"--kafka_config: {name} is not supported; there are {', '.join(sorted(TRANSLATIONS))}"
                )
            settings |= TRANSLATIONS[name](name, value, secret)
        if str(settings.get("security_protocol", "")).startswith("SASL") and "sasl_plain_username" not in settings:
            raise UsageError("--kafka_config: security.protocol needs sasl.mechanism and sasl.jaas.config")
        return settings


def java_consumer(config: KafkaConfig, group: str) -> dict[str, str]:
    """Return the configuration of the Java consumer of `group`.

    Secrets stay references, so that they are not in the graph of a job: Kafka's configuration providers read them
    when the consumer is created. Raises UsageError for a secret that they cannot read, or would read differently from
    Python.
    """
    config._translated(_check_for_java)
    providers: set[str] = set()
    properties = {name: _for_java(value, providers) for name, value in config.properties.items()}
    java = {
        "bootstrap.servers": config.bootstrap_servers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "false",
        "isolation.level": "read_committed",
    }
    if providers:
        classes = {f"config.providers.{name}.class": JAVA_PROVIDERS[name] for name in providers}
        java |= {"config.providers": ",".join(sorted(providers)), **classes}
    return java | properties


JAVA_PROVIDERS = {
    "env": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    "directory": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
}
REFERENCE = re.compile(r"(env|file):([^\s\"';]+)")
UNQUOTABLE = re.compile(r"[\"'\\\x00-\x1f]")
"""Characters that end or change a quoted value of sasl.jaas.config, which Java parses with the secret in it."""


def _check_for_java(name: str, reference: str) -> str:
    """Return the reference. Raises UsageError if Java would not read the same secret as Python."""
    if reference.startswith("secret:"):  # docs/explanation/stream.md has the reason
        raise UsageError(f"--kafka_config: {name}: the Java part of a stream reads env: and file:, not {reference}")
    secret = read_unchanged(f"{OPTION}: {name}", reference)
    if reference.startswith("file:") and secret.endswith("\n"):
        raise UsageError(
            f"--kafka_config: {name}: {reference} ends with a line break, which Java reads as a part of it"
        )
    if name.endswith("sasl.jaas.config") and UNQUOTABLE.search(secret):
        raise UsageError(
            f"--kafka_config: {name}: {reference} has a quote, a backslash or a line break, which Java cannot parse"
        )
    return reference


def _for_java(value: str, providers: set[str]) -> str:
    """Return the value with its references in the form of Kafka's configuration providers; add these to `providers`."""

    def reference(match: re.Match[str]) -> str:
        kind, where = match[1], match[2]
        providers.add("env" if kind == "env" else "directory")
        if kind == "env":
            return f"${{env:{where}}}"
        folder, _, name = where.rpartition("/")
        return f"${{directory:{folder or '.'}:{name}}}"

    return REFERENCE.sub(reference, value)


def parse_properties(text: str) -> dict[str, str]:
    """Parse a Java .properties file: `name=value` or `name: value`, comments, lines joined by a backslash.

    Raises UsageError for a name without a value.
    """
    properties: dict[str, str] = {}
    for line in _logical_lines(text):
        match = re.fullmatch(r"((?:[^\s=:\\]|\\.)+)\s*[=:\s]\s*(.*)", line)
        if match is None:
            raise UsageError(f"--kafka_config: {line.split()[0]!r} has no value")
        properties[_unescaped(match[1])] = _unescaped(match[2])
    return properties


def _logical_lines(text: str) -> Iterator[str]:
    """Yield the lines without comments and blank lines; an odd number of backslashes at the end joins two lines."""
    begun = ""
    for natural in re.split(r"\r\n|\r|\n", text):
        line = begun + natural.strip(" \t\f")
        if not begun and (not line or line[0] in "#!"):
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            begun = line[:-1]
            continue
        yield line
        begun = ""
    if begun:
        yield begun


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), text)


Find = Callable[[str, str], str]
Translation = Callable[[str, str, Find], dict[str, object]]


def _text(setting: str) -> Translation:
    return lambda _name, value, _find: {setting: value}


def _number(setting: str) -> Translation:
    def translate(name: str, value: str, _find: Find) -> dict[str, object]:
        if not value.isdecimal():
            raise UsageError(f"--kafka_config: {name}={value}: give a whole number")
        return {setting: int(value)}

    return translate


def _one_of(setting: str | None, values: tuple[str, ...]) -> Translation:
    def translate(name: str, value: str, _find: Find) -> dict[str, object]:
        if value not in values:
            raise UsageError(f"--kafka_config: {name}={value}: only {', '.join(map(repr, values))} are supported")
        return {setting: value} if setting else {}

    return translate


def _secret(setting: str) -> Translation:
    return lambda name, value, find: {setting: find(name, value)}


def _jaas(name: str, value: str, find: Find) -> dict[str, object]:
    """Extract user and password from `…LoginModule required username="…" password="…";`."""
    match = JAAS.fullmatch(value)
    options = {key: a or b or c for key, a, b, c in JAAS_OPTION.findall(match["options"])} if match else {}
    if not {"username", "password"} <= options.keys():
        raise UsageError(f'--kafka_config: {name} must read …LoginModule required username="…" password="…";')
    user, password = options["username"], options["password"]
    return {
        "sasl_plain_username": find(f"username of {name}", user) if user.startswith(REFERENCES) else user,
        "sasl_plain_password": find(f"password of {name}", password),
    }


TRANSLATIONS: Mapping[str, Translation] = {
    "client.id": _text("client_id"),
    "connections.max.idle.ms": _number("connections_max_idle_ms"),
    "metadata.max.age.ms": _number("metadata_max_age_ms"),
    "request.timeout.ms": _number("request_timeout_ms"),
    "retry.backoff.ms": _number("retry_backoff_ms"),
    "sasl.jaas.config": _jaas,
    "sasl.mechanism": _one_of("sasl_mechanism", MECHANISMS),
    "security.protocol": _one_of("security_protocol", PROTOCOLS),
    "ssl.endpoint.identification.algorithm": lambda name, value, find: {
        "ssl_check_hostname": bool(_one_of("algorithm", ("https", ""))(name, value, find)["algorithm"])
    },
    "ssl.key.password": _secret("ssl_password"),
    # One PEM file holds the chain and its key.
    "ssl.keystore.location": lambda _name, value, _find: {"ssl_certfile": value, "ssl_keyfile": value},
    "ssl.keystore.type": _one_of(None, ("PEM",)),
    "ssl.truststore.location": _text("ssl_cafile"),
    "ssl.truststore.type": _one_of(None, ("PEM",)),
}
"""All supported properties, and what they are called in kafka-python. Files are PEM: Python cannot read JKS."""
