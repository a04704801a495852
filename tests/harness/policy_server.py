"""A scripted policy server."""

import hashlib

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from .peer import signed_form, unpadded
from .recording import RecordingServer

POLICY_KEY_ID = "ed25519:policy_server"


class PolicyServer(RecordingServer):
    """It signs all events but those that `refusal`, a function of the event, gives a status and a body
    for."""

    def __init__(self, authority):
        super().__init__(authority)
        self.policy_key = ECC.construct(
            curve="Ed25519", seed=hashlib.sha256(f"policy {self.name}".encode()).digest()
        )
        self.policy_public_key = unpadded(self.policy_key.public_key().export_key(format="raw"))
        self.refusal = lambda event: None

    @property
    def content(self) -> dict:
        """Of `m.room.policy`."""
        return {"via": self.name, "public_keys": {"ed25519": self.policy_public_key}}

    def recommendation(self, event: dict) -> dict:
        signature = eddsa.new(self.policy_key, "rfc8032").sign(signed_form(event))
        return {self.name: {POLICY_KEY_ID: unpadded(signature)}}

    def sign(self, event: dict):
        """As its own users' server, and as policy server."""
        super().sign(event)
        self.recommend(event)

    def recommend(self, event: dict):
        """Adds the signature to an event."""
        event["signatures"].setdefault(self.name, {}).update(self.recommendation(event)[self.name])

    def answer_sign(self, parts, query, body):
        return self.refusal(body) or (200, self.recommendation(body))

    @property
    def asked_to_sign(self) -> list[dict]:
        return [body for _, _, _, body in self.asked_for("sign")]
