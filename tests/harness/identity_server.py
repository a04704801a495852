"""An identity server as a script: it knows whose addresses are whose, keeps invites, and signs who has which
address."""

import base64
import hashlib
import itertools
import json
from urllib.parse import parse_qs, urlsplit

from .peer import KEY_ID
from .remote_server import RemoteServer

PEPPER = "matrixrocks"


class IdentityServer(RemoteServer):
    """`localhost:<port>`. `refusal`, a status and a body, is answered to everything while it is set."""

    def __init__(self, authority):
        super().__init__(authority)
        self.users: dict[str, str] = {}
        self.requests: list[tuple[str, dict | None, str | None]] = []
        self.invites: list[dict] = []
        self.valid = True
        self.refusal = None
        self.tokens = itertools.count(1)

    def handle(self, handler, body):
        url = urlsplit(handler.path)
        endpoint = url.path.removeprefix("/_matrix/identity/v2/")
        self.requests.append((endpoint, body, handler.headers.get("Authorization")))
        if endpoint == "pubkey/isvalid":
            (key,) = parse_qs(url.query)["public_key"]
            answer = 200, {"valid": self.valid and key == self.public_key}
        elif self.refusal:
            answer = self.refusal
        elif endpoint == "hash_details":
            answer = 200, {"lookup_pepper": PEPPER, "algorithms": ["none", "sha256"]}
        elif endpoint == "lookup":
            hashes = {self.hash(address): user_id for address, user_id in self.users.items()}
            assert body["pepper"] == PEPPER and body["algorithm"] == "sha256"
            answer = 200, {"mappings": {each: hashes[each] for each in body["addresses"] if each in hashes}}
        elif endpoint == "store-invite":
            token = f"token{next(self.tokens)}"
            self.invites.append({**body, "token": token})
            key = {
                "public_key": self.public_key,
                "key_validity_url": f"https://{self.name}/_matrix/identity/v2/pubkey/isvalid",
            }
            answer = 200, {"token": token, "public_keys": [key], "display_name": "f...@e..."}
        else:
            answer = 404, {"errcode": "M_NOT_FOUND", "error": "Not here."}
        self.write(handler, answer[0], json.dumps(answer[1]).encode())

    @staticmethod
    def hash(address: str) -> str:
        digest = hashlib.sha256(f"{address} email {PEPPER}".encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def signed(self, user_id: str, token: str) -> dict:
        """The proof that a user has the address that a token stands for."""
        proof = {"mxid": user_id, "token": token}
        return {**proof, "signatures": {self.name: {KEY_ID: self.sign_json(proof)}}}

    def binding(self, user_id: str, address: str, **changes) -> dict:
        """What the user's server is told when the address turns out to be theirs."""
        invites = [
            {
                "medium": "email", "address": address, "mxid": user_id, "room_id": invite["room_id"],
                "sender": invite["sender"],
                "signed": self.signed(user_id, invite["token"]), **changes,
            }
            for invite in self.invites if invite["address"] == address
        ]  # fmt: skip
        return {"medium": "email", "address": address, "mxid": user_id, "invites": invites}
