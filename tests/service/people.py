"""A policy whose keys people make, and a person, over fakes and a real journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.handover import seen
from rotator.domain.model import Assistance, Destination
from rotator.domain.record import Expiration
from rotator.domain.secret import SecretValue
from rotator.service.desk import Taken
from rotator.service.handover import Handed
from tests.service.conftest import Stage

INBOX = Destination(backend="other", name="other:inbox#key", options=(("field", "key"), ("path", "inbox")))
PEOPLE = Assistance(console_url="https://console.example", owners=("ada",))


class AssistedStage(Stage):
    """A person who does as they are told, or not."""

    def use_inbox(self) -> None:
        self.change(assistance=replace(PEOPLE, inbox=INBOX))

    def change(self, **changes: object) -> None:
        self.policy = replace(self.policy, **changes)
        self.policies[:] = [self.policy]

    @property
    def record(self):
        return self.journal.load(self.policy.name)

    def make_key(self, project: str | None = None, expires_at=None):
        return self.provider.create_by_hand(project or self.policy.project, expires_at=expires_at)

    def submit(self, secret: SecretValue | str, *, expires: Expiration | None = None, began="now"):
        given = secret if isinstance(secret, SecretValue) else SecretValue(secret)
        began = seen(self.record) if began == "now" else began
        handed = Handed(secret=given, expires=expires, by="ada", via="submit", began=began)
        return self.desk.hand_over(self.policy, handed, patience=timedelta(seconds=2))

    def put_into_inbox(self, secret: SecretValue) -> None:
        self.backends["other"].put_by_hand(INBOX, secret.reveal())

    def inbox(self):
        return self.backends["other"].read(INBOX).value

    def with_a_key_that_ends_soon(self) -> str:
        """Adopted, and told to end; a new one is asked for."""
        first = self.make_key()
        self.look()
        assert self.submit(first.secret).taken is Taken.ACCEPTED
        self.clock.current = self.record.current.expires_at - self.policy.renew_before
        self.look()
        assert self.record.awaiting
        return first.facts.key_id

    def happened(self, kind: type) -> int:
        with self.journal._reading() as connection:
            query = "select count(*) from event where kind = ?"
            return connection.exec_driver_sql(query, (kind.__name__,)).scalar_one()
