"""The server's side of the AWS login: checks the signed request as Vault and STS do, with botocore's own signer."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.backends.proxy import Answer, Request, Upstream
from tests.backends.vault_help import JSON, is_login
from tests.parts.openbao import OpenBao

SECRET_KEY = "made-up/secret+key"
_BODY = "Action=GetCallerIdentity&Version=2011-06-15"


class Verifier:
    """Vault's side of the method: answers a login that is signed well with a token, and passes all else on.

    Source of the rules: Vault documentation, "AWS auth method" (IAM): the body is GetCallerIdentity, the server's id is
    among the signed headers and the right one; everything else is for STS to judge, which checks the signature.
    """

    def __init__(self, server: OpenBao, rights: str, *, host: str, region: str, server_id: str | None = None) -> None:
        self._server = server
        self._rights = rights
        self._host, self._region, self._server_id = host, region, server_id
        self.fields: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    def __call__(self, request: Request, upstream: Upstream) -> Answer:
        if not is_login(request):
            return upstream(request.body)
        self.fields = json.loads(request.body)
        fault = self._fault()
        if fault:
            return Answer(400, json.dumps({"errors": [fault]}).encode(), JSON)
        made = self._server.root.auth.token.create(policies=[self._rights], ttl="1h")
        return Answer(200, json.dumps(made).encode(), JSON)

    def _fault(self) -> str:
        if self.fields["iam_http_request_method"] != "POST":
            return "method"
        url, body = self._text("iam_request_url"), self._text("iam_request_body")
        if body != _BODY or urlsplit(url).netloc != self._host or urlsplit(url).path != "/":
            return "not GetCallerIdentity, or another endpoint"
        self.headers = {name: values[0] for name, values in json.loads(self._text("iam_request_headers")).items()}
        given = dict(part.split("=", 1) for part in self.headers["Authorization"].partition(" ")[2].split(", "))
        signed = given["SignedHeaders"].split(";")
        if self._server_id and (
            "x-vault-aws-iam-server-id" not in signed or self.headers["X-Vault-AWS-IAM-Server-ID"] != self._server_id
        ):
            return "server id"
        if not given["Credential"].endswith(f"/{self._region}/sts/aws4_request") or "host" not in signed:
            return "scope"
        again = AWSRequest("POST", url, data=body, headers={name: self._header(name) for name in signed})
        again.context["timestamp"] = self._header("x-amz-date")
        signer = SigV4Auth(Credentials("AKID", SECRET_KEY), "sts", self._region)
        expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        return "" if expected == given["Signature"] else "signature"

    def _text(self, name: str) -> str:
        return base64.b64decode(self.fields[name], validate=True).decode()

    def _header(self, name: str) -> str:
        return next(text for given, text in self.headers.items() if given.lower() == name)
