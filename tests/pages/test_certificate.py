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


@pytest.mark.parametrize("end", [datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)])
def test_its_days_are_read_from_either_form_of_a_date(end: datetime) -> None:
    start = datetime(2026, 11, 1, 2, 3, 4, tzinfo=UTC)
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    assert validity_of(f"a comment\n{pem}{pem}") == Validity(start=start, end=end)


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
                                  "-----BEGIN CERTIFICATE-----\nMIIBMIIB\n-----END CERTIFICATE-----"])  # fmt: skip
def test_what_is_no_certificate_has_no_days(text: str) -> None:
    assert validity_of(text) is None
