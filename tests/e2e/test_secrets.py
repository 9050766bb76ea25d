"""Promise 3: no secret leaves memory except to its destinations: every byte that left the process is searched."""

import base64
import os
from urllib.parse import quote

import pytest

from tests.e2e.conftest import SHORT, until
from tests.parts.aws import CREDENTIALS
from tests.parts.rotator import count


def found_in(secrets, content):
    """The secrets that occur in these bytes, plainly or in a usual coding."""
    forms = {
        form: secret
        for secret in secrets
        for form in (
            secret.encode(),
            base64.b64encode(secret.encode()).rstrip(b"="),
            quote(secret, safe="").encode(),
            secret.encode("utf-16-le"),
            secret.encode().hex().encode(),
        )
    }
    return {secret for form, secret in forms.items() if form in content}


def test_the_search_finds_what_is_there():
    secret = "tgp_v1_" + "x" * 43
    for content in (f"a {secret} b", base64.b64encode(secret.encode()).decode(), secret.encode().hex()):
        assert found_in([secret], content.encode()) == {secret}
    assert found_in([secret], b"tgp_v1_ and nothing else") == set()


FAULTS = (
    {"match": {"method": "POST", "path_regex": "api-keys"}, "effect": "error_after", "times": 1},
    {"match": {"method": "POST", "path_regex": "api-keys"}, "effect": "truncated", "skip": 1, "times": 1},
    {"match": {"method": "GET", "path_regex": "whoami"}, "effect": "html", "skip": 4, "times": 3},
    {"match": {"method": "DELETE", "path_regex": "api-keys"}, "effect": "reset_after", "times": 1},
    {"match": {"method": "GET", "path_regex": "api-keys"}, "effect": "reset_before", "skip": 2, "times": 2},
)


@pytest.mark.parametrize("way", ["service", "cron"])
def test_promise_3_no_secret_is_in_anything_that_was_written(installation, tmp_path, way):
    issued = {secret.reveal() for secret in installation.credentials.values()}
    issued |= {CREDENTIALS["AWS_SECRET_ACCESS_KEY"], installation.openbao.token.reveal()}
    issued.discard(installation.credentials["ROLE_ID"].reveal())  # a name, not a secret
    written = bytearray()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    rotator = installation.rotator(SHORT, level="debug")
    rotator.environ["TMPDIR"] = str(temporary)
    installation.simulator.faults(FAULTS)

    def note(*texts):
        issued.update(installation.held())
        for text in texts:
            written.extend(text.encode())

    def call(*arguments):
        done = rotator.call(*arguments)
        note(done.stdout, done.stderr)
        return done.stdout

    def revoked():
        note()
        return len(installation.simulator.keys(state="revoked")) >= 4

    if way == "service":
        with rotator.service() as service:
            until(revoked)
            service.wait_for(lambda events: count(events, "key.closed") >= 2)
            service.stop()
            note(*service.lines)
    else:
        until(revoked, lambda: call("--log-level", "debug", "--run-once"))
    for arguments in (["--dry-run"], ["--dry-run", "--format", "json"], ["--log-level", "debug", "--run-once"]):
        call(*arguments)
    note(*(rotator.command(name).stdout for name in ("status", "validate")))
    assert len(issued) >= 6
    assert b"problem" in written  # the faults did strike
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != installation.dotenv:
            written.extend(path.read_bytes())
            written.extend(os.fsencode(path.name))
    assert found_in(issued, bytes(written)) == set()


def test_promise_3_a_credential_that_no_header_can_carry_is_not_shown(installation):
    odd = "tgp_v1_with\ta-tab-and-a-line-end"
    installation.dotenv.write_text(f'TOGETHER_API_KEY="{odd}"\n')
    done = installation.rotator(SHORT, level="debug").run_once()
    assert found_in([odd, "a-tab-and-a-line-end"], (done.stdout + done.stderr).encode()) == set()
