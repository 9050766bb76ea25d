"""What is wrong with a Vault backend is told by file, line and field, before anything is sent; a sentence a row."""

import pytest

from tests.config.conftest import GOOD
from tests.parts.certificates import Authority

REFERENCE = "allowed: a reference: {env: NAME}, {file: PATH} or {credential: NAME}"
NEVER = f"{REFERENCE}; never the secret itself"
URL = "allowed: an https URL, without user, query and fragment"
ENV = "{env: MANAGEMENT_KEY}"
TOKEN = f"auth: {{method: token, token: {ENV}}}"


def vault(*fields, url="https://v:8200"):
    return GOOD + f"backends:\n  v:\n    type: vault\n    url: {url}\n" + "".join(f"    {one}\n" for one in fields)


def at(place):
    return vault(TOKEN).replace("backends:", f"      - {{backend: v, {place}, field: KEY}}\nbackends:")


def login(text):
    return vault(f"auth: {{{text}}}")


CASES = {
    "a token file that is not there": (
        login("method: token_file, path: /nope"),
        "15: backends.v.auth.path: found '/nope'; allowed: a file that exists"),
    "a token file without a path": (
        login("method: token_file"), "15: backends.v.auth.path: found nothing; allowed: this field must be there"),
    "a token in the place of its file's path": (
        login("method: token_file, path: hvs.CAESIJ12345678901234567890"),
        ("15: backends.v.auth.path: found a secret, written into the configuration; allowed: a reference, such as "
        "{env: NAME} or {file: PATH}; never a secret itself")),
    "a secret id in full": (
        login(f"method: approle, role_id: {ENV}, secret_id: hunter2"),
        f"15: backends.v.auth.secret_id: found a value written into the configuration; {NEVER}"),
    "a field of another method": (
        login(f"method: approle, role_id: {ENV}, secret_id: {ENV}, role: x"),
        ("15: backends.v.auth.role: found an unknown field; allowed: method, role_id, secret_id, wrapped_for_role, "
        "mount; did you mean 'role_id'?")),
    "a mount of nothing": (
        login(f"method: approle, role_id: {ENV}, secret_id: {ENV}, mount: /"),
        "15: backends.v.auth.mount: found '/'; allowed: a path of one line, not empty"),
    "no service account in this place": (
        login("method: kubernetes, role: rotator, token_file: /nope"),
        ("15: backends.v.auth.token_file: found file /nope, which can't be read (No such file or directory); "
        "allowed: a secret that is there")),
    "kubernetes without a role": (
        login("method: kubernetes, token_file: /dev/null"),
        "15: backends.v.auth.role: found nothing; allowed: this field must be there"),
    "a web token from a backend": (
        login("method: jwt, token: {backend: v, path: x, field: y}"),
        f"15: backends.v.auth.token: found a reference to a backend; {REFERENCE}"),
    "a certificate login without the certificate": (
        login("method: cert"),
        ("15: backends.v.auth.method: found the method cert without client_cert; allowed: with client_cert, for an "
        "https URL")),
    "a region that is none": (
        login("method: aws, region: 'eu-central-1.evil.example/'"),
        ("15: backends.v.auth.region: found 'eu-central-1.evil.example/'; allowed: a region of AWS, such as "
        "eu-central-1")),
    "a password in full": (
        login("method: userpass, username: me, password: hunter2"),
        f"15: backends.v.auth.password: found a value written into the configuration; {NEVER}"),
    "a client certificate that is not there": (
        vault(TOKEN, "client_cert: nope.pem"),
        "16: backends.v.client_cert: found 'nope.pem'; allowed: a file that exists"),
    "a client key alone": (
        vault(TOKEN, "client_key: rotator.internal-key.pem"),
        "16: backends.v.client_key: found a key without its certificate; allowed: with client_cert"),
    "a certificate with another's key": (
        vault(TOKEN, "client_cert: rotator.internal.pem", "client_key: other.internal-key.pem"),
        ("16: backends.v.client_cert: found files that can't be used together; allowed: a certificate and its key in "
        "PEM, without pass phrase")),
    "a certificate without its key": (
        vault(TOKEN, "client_cert: rotator.internal.pem"),
        ("16: backends.v.client_cert: found files that can't be used together; allowed: a certificate and its key in "
        "PEM, without pass phrase")),
    "a key with a pass phrase, which nobody is asked for": (
        vault(TOKEN, "client_cert: locked.internal.pem", "client_key: locked.internal-key.pem"),
        ("16: backends.v.client_cert: found files that can't be used together; allowed: a certificate and its key in "
        "PEM, without pass phrase")),
    "a server name that is a URL": (
        vault(TOKEN, "server_name: https://v"),
        "16: backends.v.server_name: found 'https://v'; allowed: the name of a host"),
    "a namespace that no header can carry": (
        vault(TOKEN, "namespace: équipe a"),
        "16: backends.v.namespace: found 'équipe a'; allowed: letters, digits and signs of ASCII, without blanks"),
    "a proxy with a password": (
        vault(TOKEN, "proxy: http://me:hunter2@p:3128"),
        ("16: backends.v.proxy: found a secret, written into the configuration; allowed: a reference, such as "
        "{env: NAME} or {file: PATH}; never a secret itself")),
    "a proxy that is no URL": (
        vault(TOKEN, "proxy: p:3128"), f"16: backends.v.proxy: found 'p:3128'; {URL}"),
    "a node that is no URL": (
        vault(TOKEN, "nodes: [vault-1]"), f"16: backends.v.nodes[0]: found 'vault-1'; {URL}"),
    "a node that would be spoken to in the clear": (
        vault(TOKEN, "nodes: ['https://a:8200', 'http://b:8200']"),
        "16: backends.v.nodes[1]: found 'http://b:8200'; allowed: the same scheme as in 'url'"),
    "verification that shall be off": (
        vault(TOKEN, "verify: false"),
        ("16: backends.v.verify: found an unknown field; allowed: type, url, auth, namespace, ca_file, client_cert, "
        "client_key, server_name, proxy, nodes, timeout, limits")),
    "a destination with a part that servers and libraries take away": (
        at("path: team/../app"),
        ("11: policies[0].destinations[1].path (a): found 'team/../app'; allowed: a path without empty parts, '.' "
        "and '..'")),
    "a mount with an empty part": (
        at("mount: team//kv, path: app"),
        ("11: policies[0].destinations[1].mount (a): found 'team//kv'; allowed: a path without empty parts, '.' "
        "and '..'")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), CASES.values(), ids=CASES)
def test_it_is_told_by_file_line_and_field(text, problem, configuration):
    authority = Authority(configuration.folder)
    for name in ("rotator.internal", "other.internal"):
        authority.sign(name, client=True)
    authority.sign("locked.internal", client=True, pass_phrase=b"made-up")
    assert configuration.problems(text) == [f"rotator.yaml:{problem}"]
