"""The listener's certificate: one that can't be renewed is told where operators look, and one that can is used."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from rotator.clock import SystemClock
from rotator.config.tls import server_context
from rotator.entrypoints.front import Front
from rotator.entrypoints.http.encrypted import Certificate
from rotator.entrypoints.http.validity import Validity, validity_of
from tests.entrypoints.test_front import settings_of
from tests.parts.certificates import Authority


def told(logged: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in logged]


def asked(certificate: Certificate) -> None:
    """As the next connection does."""
    certificate._newest()


def test_files_that_can_not_be_used_are_told_once_and_again_when_they_have_changed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    file, key = authority.sign("one")
    good, good_key = file.read_bytes(), key.read_bytes()
    with capture_logs() as logged:
        certificate = Certificate(file, key)
        asked(certificate)
        assert (certificate.trouble, told(logged)) == ("", [])
        for many, broken in enumerate((b"half of it", b"", None), 1):
            if broken is None:
                key.unlink()
            else:
                key.write_bytes(broken)
            before = certificate.validity
            for _ in range(3):
                asked(certificate)
            assert told(logged) == ["http.certificate_unusable"] * many
            assert certificate.trouble.startswith("http.tls: the renewed certificate can't be used: ")
            assert certificate.validity == before
        file.write_bytes(good)
        key.write_bytes(good_key)
        asked(certificate)
        assert (certificate.trouble, told(logged)[3:]) == ("", ["http.certificate_renewed"])


def test_readiness_and_metrics_tell_of_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    file, key = authority.sign("one", hosts=("127.0.0.1",))
    trusting = ssl.create_default_context(cafile=authority.file)
    http = {"listen": "127.0.0.1:0", "tls": {"certificate": str(file), "key": str(key)}}
    front = Front(SystemClock())
    front.wait(settings_of(tmp_path, http=http))
    try:
        url = f"https://127.0.0.1:{front._listener.port}"

        def lines() -> dict[str, float]:
            text = httpx.get(f"{url}/metrics", verify=trusting).text
            found = [line.split(" ") for line in text.splitlines() if line.startswith("rotator_certificate_")]
            return {name.removeprefix("rotator_certificate_"): float(value) for name, value in found}

        well = lines()
        assert well["unusable"] == 0
        assert well["expiry_timestamp_seconds"] - well["start_timestamp_seconds"] == 25 * 3600
        assert "warnings" not in httpx.get(f"{url}/readyz", verify=trusting).json()
        key.write_bytes(b"half of it")
        assert lines() == {**well, "unusable": 1}
        (warning,) = httpx.get(f"{url}/readyz", verify=trusting).json()["warnings"]
        assert warning.startswith("http.tls: the renewed certificate can't be used: ")
    finally:
        front.stop()


WHILE = {
    "now": (datetime(2026, 11, 1, 2, 3, 4, tzinfo=UTC), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
    "over": (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)),
    "to come": (datetime(2049, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)),
}


@pytest.mark.parametrize(("start", "end"), WHILE.values(), ids=WHILE.keys())
def test_its_days_are_read_whenever_they_are(tmp_path: Path, start: datetime, end: datetime) -> None:
    private, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)]),
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(private, hashes.SHA256())
    )
    plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    file.write_bytes(b"a comment\n" + made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(private.private_bytes(*plain))
    assert Certificate(file, key).validity == Validity(start=start, end=end)


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_has_no_days(tmp_path: Path, text: str) -> None:
    file, key = Authority(tmp_path).sign("one")
    assert validity_of(server_context(file, key), text) is None
    assert validity_of(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), file.read_text()) is None
