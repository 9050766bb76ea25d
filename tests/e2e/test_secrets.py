"""Promise 3: no secret leaves memory except to its destinations: every byte that left the process is searched."""

import base64
from urllib.parse import quote

from tests.e2e.conftest import SHORT


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


def test_promise_3_a_credential_that_no_header_can_carry_is_not_shown(installation):
    odd = "tgp_v1_with\ta-tab-and-a-line-end"
    installation.dotenv.write_text(f'TOGETHER_API_KEY="{odd}"\n')
    done = installation.rotator(SHORT, level="debug").run_once()
    assert found_in([odd, "a-tab-and-a-line-end"], (done.stdout + done.stderr).encode()) == set()
