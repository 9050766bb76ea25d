"""A real PostgreSQL server: its data in a temporary folder, on a free port of this machine, asking for passwords."""

from __future__ import annotations

import ipaddress
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import sql

from rotator.domain.secret import SecretValue

_START_SECONDS = 60
_STOP_SECONDS = 20
_SERVERS = Path("/usr/lib/postgresql")
"""Where Debian keeps the servers, a folder for each version; they are not in PATH."""


def find(program: str) -> Path:
    """A program of the newest server. Raises ``RuntimeError`` where there is none."""
    installed = sorted(_SERVERS.glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]), reverse=True)
    found = installed[0] if installed else shutil.which(program)
    if found is None:
        raise RuntimeError(f"PostgreSQL can't start: {program} is missing (Debian: apt-get install postgresql)")
    return Path(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A role, and what it owns: a whole database, or a schema in the one that all tests share.

    :param url: for ``state.url``; without the password.
    :param role: the schema's name too, where it is one.
    """

    url: str
    role: str
    name: str
    password: SecretValue
    server: Postgres

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a person sees who looks into it; nothing for a command."""
        with self.server.connect(self.name, self.role) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


class Postgres:
    """A context manager around one server. Nothing of it outlives the block.

    :param tls: with a certificate for 127.0.0.1, signed by itself.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self._tls = tls
        self._initdb, self._postgres = find("initdb"), find("postgres")
        self._folder = tempfile.TemporaryDirectory(prefix="rotator-postgres-")
        self._process: subprocess.Popen[bytes] | None = None
        self._password = secrets.token_hex(16)
        # It refuses to run as root; any account without rights will do.
        self._user = "nobody" if os.geteuid() == 0 else None
        self.port = 0

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        file = folder / "password"
        file.write_text(self._password)
        if self._tls:
            _write_certificate(self.certificate, folder / "server.key")
        if self._user:
            account = pwd.getpwnam(self._user)
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        try:
            self._initialise(folder, file)
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    @property
    def certificate(self) -> Path:
        """What a client must trust, where the server has TLS."""
        return Path(self._folder.name) / "server.crt"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        folder = Path(self._folder.name)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "port": str(self.port)}
        # Nobody pulls the plug in a test; what a client waits for is the same.
        options |= {"fsync": "off", "max_connections": "60"}
        if self._tls:
            files = {"ssl_cert_file": str(self.certificate), "ssl_key_file": str(folder / "server.key")}
            options |= {"ssl": "on", **files}
        given = [part for name, text in options.items() for part in ("-c", f"{name}={text}")]
        with (folder / "server.log").open("ab") as log:
            # A session of its own: Ctrl-C reaches our process alone, which then ends this one in order.
            self._process = subprocess.Popen(
                [self._postgres, "-D", folder / "data", *given],
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                **self._account(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL can't start: {self._last_line('server.log')}")

    def stop(self) -> None:
        """As an operator would who does not wait for clients ("fast")."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def connect(self, database: str = "postgres", schema: str = "public") -> psycopg.Connection[tuple[Any, ...]]:
        """As the superuser; each statement is a transaction of its own."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
            options=f"-csearch_path={schema},public",
        )

    def new_schema(self) -> Database:
        """A role with an empty schema that is found first: a hundredth of the time that a database takes."""
        with self.connect() as connection:
            role, password = self._new_role(connection)
            connection.execute(sql.SQL("CREATE SCHEMA AUTHORIZATION {}").format(sql.Identifier(role)))
        return self._made(role, "postgres", password)

    def new_database(self) -> Database:
        """A role with an empty database, as docs/postgresql.md has it."""
        with self.connect() as connection:
            role, password = self._new_role(connection)
            made = sql.SQL("CREATE DATABASE {name} OWNER {name}").format(name=sql.Identifier(role))
            connection.execute(made)
        return self._made(role, role, password)

    def drop_schema(self, made: Database) -> None:
        """Away with it and its role; whoever is still connected is thrown out."""
        self.disconnect(made)
        with self.connect() as connection:
            for statement in ("DROP OWNED BY {} CASCADE", "DROP SCHEMA IF EXISTS {} CASCADE", "DROP ROLE {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(made.role)))

    def disconnect(self, made: Database) -> None:
        """End every connection of its role, as an administrator would."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [made.role]
            )

    def _new_role(self, connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[str, SecretValue]:
        role, password = f"journal_{uuid.uuid4().hex[:12]}", SecretValue(f"pw-{secrets.token_hex(12)}")
        made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(made.format(sql.Identifier(role), sql.Literal(password.reveal())))
        return role, password

    def _made(self, role: str, database: str, password: SecretValue) -> Database:
        url = f"postgresql+psycopg://{role}@127.0.0.1:{self.port}/{database}"
        return Database(url=url, role=role, name=database, password=password, server=self)

    def log(self) -> str:
        """Everything that the server wrote."""
        return (Path(self._folder.name) / "server.log").read_text(errors="replace")

    def _initialise(self, folder: Path, password: Path) -> None:
        done = subprocess.run(
            [self._initdb, "-D", folder / "data", "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}",
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
            **self._account(),
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(f"PostgreSQL can't start: {lines[-1] if lines else 'initdb said nothing'}")

    def _account(self) -> dict[str, Any]:
        if not self._user:
            return {}
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}

    def _last_line(self, name: str) -> str:
        lines = (Path(self._folder.name) / name).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _write_certificate(certificate: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "PostgreSQL of the tests")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    coded = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(*coded))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of a process."""
    with Postgres() as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A schema that no other test uses."""
    made = postgres.new_schema()
    yield made
    postgres.drop_schema(made)
