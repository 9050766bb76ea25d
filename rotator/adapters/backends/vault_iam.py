"""The AWS login of Vault: a signed ``sts:GetCallerIdentity`` request that the server sends in our stead.

Source: Vault documentation, "AWS auth method", "IAM auth method", and its API page, "Login": the fields
``iam_http_request_method``, ``iam_request_url``, ``iam_request_body`` and ``iam_request_headers``, all but the first in
base64. OpenBao has no such method. botocore finds the credentials (its standard chain) and signs; the secret key itself
is never sent. hvac's own login takes the bare keys and signs for the global endpoint alone.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from rotator.adapters.backends.vault_wire import Wire
from rotator.errors import BackendDenied

_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_GLOBAL = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsIamAuth:
    """The AWS identity of this process.

    :param role: the server takes the name of the IAM principal where it is not given.
    :param region: whose STS endpoint is signed for. In us-east-1 it is the global one, ``sts.amazonaws.com``, which is
        the server's default; with another region the server needs ``sts_endpoint`` or ``use_sts_region_from_client``.
    :param server_id: the value of ``X-Vault-AWS-IAM-Server-ID``, where the server asks for it.
    :param profile: of AWS's configuration files.
    """

    role: str | None = None
    region: str = _GLOBAL
    server_id: str | None = None
    profile: str | None = None
    mount: str = "aws"
    needs: str = field(default="role, AWS identity, region, server id", init=False)

    def login(self, wire: Wire) -> Any:  # noqa: ANN401 -- see ``Login``
        """See ``Login``. One request; the credentials' own (IMDS, STS) are botocore's."""
        return wire.adapter().login(f"/v1/auth/{self.mount}/login", use_token=False, json=self._signed(wire.timeout))

    def _signed(self, timeout: float) -> dict[str, str]:
        # Imported where they are used: a start without this login needs none of it.
        import botocore.exceptions  # noqa: PLC0415
        from botocore.auth import SigV4Auth  # noqa: PLC0415
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415

        session = Session(profile=self.profile)
        # For the STS that gives a role: others wait for this login, and 60 s, five times, is botocore's own patience.
        once = {"total_max_attempts": 1}
        session.set_default_client_config(Config(connect_timeout=timeout, read_timeout=timeout, retries=once))
        try:
            credentials = session.get_credentials()
            if credentials is None:
                raise botocore.exceptions.NoCredentialsError
            headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
            if self.server_id:
                headers["X-Vault-AWS-IAM-Server-ID"] = self.server_id
            host = self._host(session)
            request = AWSRequest("POST", f"https://{host}/", data=_BODY, headers={**headers, "Host": host})
            SigV4Auth(credentials.get_frozen_credentials(), "sts", self.region).add_auth(request)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:  # the latter is STS's no
            raise BackendDenied(
                f"login at auth/{self.mount}: no AWS credentials or region ({type(error).__name__})"
            ) from None
        signed = json.dumps({name: [value] for name, value in request.headers.items()})
        return {
            "iam_http_request_method": "POST",
            "iam_request_url": _base64(f"https://{host}/"),
            "iam_request_body": _base64(_BODY),
            "iam_request_headers": _base64(signed),
            **({"role": self.role} if self.role else {}),
        }

    def _host(self, session: Any) -> str:  # noqa: ANN401 -- botocore ships no types
        if self.region == _GLOBAL:
            return "sts.amazonaws.com"
        partition = session.get_partition_for_region(self.region)  # an unknown region is botocore's error
        partitions = session.get_data("endpoints")["partitions"]
        suffix = next(one["dnsSuffix"] for one in partitions if one["partition"] == partition)
        return f"sts.{self.region}.{suffix}"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
