"""`--kafka_config`: what is translated, what is refused by name, and secrets that are looked up and not shown."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.config import TRANSLATIONS, KafkaConfig, java_consumer, parse_properties
from connectors.secrets import Secret
from contracts.errors import UsageError

SERVERS = "broker:9092"
PLANTED = 'pl@nted "word" = \\ #1'
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def load(text: str, servers: str | None = SERVERS) -> KafkaConfig:
    """As the launcher does, with this text for the file."""
    return KafkaConfig.load(servers, "client.properties", lambda name: text.encode())


def test_a_properties_file_is_read_as_java_reads_it() -> None:
    text = "# comment \\\n! another\n\n a=1\nb : 2\nc 3\nlong=x, \\\n   y\npath=C:\\\\tmp\nspaced\\ name=v\na=9\n"
    text += "equals=x=y:z\r\nlast=one\\"
    assert parse_properties(text) == {
        "a": "9",
        "b": "2",
        "c": "3",
        "long": "x, y",
        "path": "C:\\tmp",
        "spaced name": "v",
        "equals": "x=y:z",
        "last": "one",
    }


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\=:#!"), min_size=1)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["Cc", "Zl", "Zp"])).map(
    str.strip
)


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read(properties: dict[str, str]) -> None:
    text = "".join(f"{name}={value.replace(chr(92), 2 * chr(92))}\n" for name, value in properties.items())
    assert parse_properties(text) == properties


def test_every_property_has_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", PLANTED)
    (tmp_path / "key.pem").touch()
    (tmp_path / "key password").write_text("from a file\n")
    given = {
        "client.id": "shop",
        "connections.max.idle.ms": "1000",
        "metadata.max.age.ms": "2000",
        "request.timeout.ms": "3000",
        "retry.backoff.ms": "4000",
        "sasl.jaas.config": f'{LOGIN} username="alice" password="env:KAFKA_PASSWORD";',
        "sasl.mechanism": "SCRAM-SHA-512",
        "security.protocol": "SASL_SSL",
        "ssl.endpoint.identification.algorithm": "",
        "ssl.key.password": f"file:{tmp_path / 'key password'}",
        "ssl.keystore.location": str(tmp_path / "key.pem"),
        "ssl.keystore.type": "PEM",
        "ssl.truststore.location": str(tmp_path / "key.pem"),
        "ssl.truststore.type": "PEM",
    }
    assert given.keys() == TRANSLATIONS.keys()
    config = load("".join(f"{name}={value}\n" for name, value in given.items()))
    assert config.properties == given  # for Java: as they stand
    settings = config.settings()
    assert settings == {
        "bootstrap_servers": [SERVERS],
        "client_id": "shop",
        "connections_max_idle_ms": 1000,
        "metadata_max_age_ms": 2000,
        "request_timeout_ms": 3000,
        "retry_backoff_ms": 4000,
        "sasl_plain_username": "alice",
        "sasl_plain_password": PLANTED,
        "sasl_mechanism": "SCRAM-SHA-512",
        "security_protocol": "SASL_SSL",
        "ssl_check_hostname": False,
        "ssl_password": "from a file",
        "ssl_certfile": str(tmp_path / "key.pem"),
        "ssl_keyfile": str(tmp_path / "key.pem"),
        "ssl_cafile": str(tmp_path / "key.pem"),
    }
    for shown in (repr(config), str(config), repr(settings), f"{settings}"):
        assert PLANTED not in shown
        assert "from a file" not in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("enable.auto.commit=true", r"enable\.auto\.commit is not supported; there are client\.id, .*"),
        ("request.timeout.ms=soon", r"request\.timeout\.ms=soon: give a whole number"),
        ("security.protocol=TLS", r"security\.protocol=TLS: only 'PLAINTEXT', 'SSL', .* are supported"),
        ("sasl.mechanism=GSSAPI", r"sasl\.mechanism=GSSAPI: only 'PLAIN', .* are supported"),
        ("ssl.keystore.type=JKS", r"ssl\.keystore\.type=JKS: only 'PEM' are supported"),
        ("security.protocol=SASL_SSL", r"security\.protocol needs sasl\.mechanism and sasl\.jaas\.config"),
        ("sasl.jaas.config=what", r"sasl\.jaas\.config must read …LoginModule required username=.*"),
        ("nonsense", r"'nonsense' has no value"),
    ],
)
def test_the_rest_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^--kafka_config: {said}$"):
        load(text)


@pytest.mark.parametrize(
    "text", [f'sasl.jaas.config={LOGIN} username="a" password="hunter2";', "ssl.key.password=hunter2"]
)
def test_a_secret_in_the_file_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match="must be a reference: env:NAME, file:PATH or secret:projects/…") as refused:
        load(text)
    assert "hunter2" not in str(refused.value)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    for reference, said in (
        ("env:NOT_SET", "the environment variable NOT_SET is not set"),
        (f"file:{tmp_path}/none", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=rf"^--kafka_config: ssl\.key\.password: .*{said}"):
            load(f"ssl.key.password={reference}").settings()


@pytest.mark.parametrize("servers", ["broker", "broker:port", "broker:9092,", "http://broker:9092", ""])
def test_servers_are_host_and_port(servers: str) -> None:
    with pytest.raises(UsageError, match=r"^--bootstrap_servers"):
        load("", servers)
    assert load("bootstrap.servers=a:1,[::1]:2", None).settings()["bootstrap_servers"] == ["a:1", "[::1]:2"]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"^--kafka_config no\.properties: cannot be read: "):
        KafkaConfig.load(SERVERS, "no.properties", lambda name: Path("/dev/null/none").read_bytes())
    with pytest.raises(UsageError, match=r"^--kafka_config: there is no file /dev/null/ca\.pem$"):
        load("ssl.truststore.location=/dev/null/ca.pem").settings()


@pytest.fixture
def secret_manager() -> Iterator[secretmanager.SecretManagerServiceClient]:
    """A client of a server that knows the latest version of one secret."""

    def access(
        request: secretmanager.AccessSecretVersionRequest, context: grpc.ServicerContext
    ) -> secretmanager.AccessSecretVersionResponse:
        if request.name != "projects/p/secrets/kafka/versions/latest":
            context.abort(grpc.StatusCode.NOT_FOUND, request.name)
        payload = secretmanager.SecretPayload(data=PLANTED.encode())
        return secretmanager.AccessSecretVersionResponse(name=request.name, payload=payload)

    handler = grpc.unary_unary_rpc_method_handler(
        access,
        secretmanager.AccessSecretVersionRequest.deserialize,
        secretmanager.AccessSecretVersionResponse.serialize,
    )
    service = "google.cloud.secretmanager.v1.SecretManagerService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"AccessSecretVersion": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        transport = SecretManagerServiceGrpcTransport(channel=channel, credentials=AnonymousCredentials())
        yield secretmanager.SecretManagerServiceClient(transport=transport)
    server.stop(None)


def test_secret_manager_is_asked(secret_manager: secretmanager.SecretManagerServiceClient) -> None:
    for name in ("projects/p/secrets/kafka", "projects/p/secrets/kafka/versions/latest"):
        found = load(f"ssl.key.password=secret:{name}").settings(secret_manager)["ssl_password"]
        assert found == PLANTED
        assert isinstance(found, Secret)
    with pytest.raises(NotFound):
        load("ssl.key.password=secret:projects/p/secrets/other").settings(secret_manager)


def jaas(reference: str) -> KafkaConfig:
    """A password by reference."""
    return load(f'sasl.mechanism=PLAIN\nsasl.jaas.config={LOGIN} username="a" password="{reference}";')


def test_java_gets_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    (tmp_path / "password").write_text("hunter2")
    by_name = java_consumer(jaas("env:KAFKA_PASSWORD"), "g")
    assert by_name["sasl.jaas.config"] == f'{LOGIN} username="a" password="${{env:KAFKA_PASSWORD}}";'
    assert by_name["config.providers"] == "env"
    by_file = java_consumer(jaas(f"file:{tmp_path}/password"), "g")
    assert by_file["sasl.jaas.config"] == f'{LOGIN} username="a" password="${{directory:{tmp_path}:password}}";'
    assert by_file["config.providers"] == "directory"
    assert "hunter2" not in repr((by_name, by_file))


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("hunter2\n", "ends with a line break, which Java reads as a part of it"),
        ('hun"ter2', "has a quote, a backslash or a line break, which Java cannot parse"),
        ("hunter2\\", "has a quote, a backslash or a line break, which Java cannot parse"),
    ],
)
def test_a_secret_that_java_would_read_otherwise(tmp_path: Path, secret: str, said: str) -> None:
    (tmp_path / "password").write_text(secret)
    config = jaas(f"file:{tmp_path}/password")
    with pytest.raises(
        UsageError, match=rf"^--kafka_config: password of sasl\.jaas\.config: file:{tmp_path}/password {said}$"
    ):
        java_consumer(config, "g")
    assert config.settings()["sasl_plain_password"] == secret.rstrip("\n")


def test_java_has_no_secret_manager() -> None:
    with pytest.raises(
        UsageError, match=r"the Java part of a stream reads env: and file:, not secret:projects/p/secrets/s$"
    ):
        java_consumer(jaas("secret:projects/p/secrets/s"), "g")
