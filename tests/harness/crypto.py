"""Keys of end-to-end encryption as clients publish them: device keys, one-time keys, cross-signing keys."""

import copy
import itertools
import secrets

from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from .client import Client
from .peer import canonical, unpadded

KEY_NUMBERS = itertools.count(1)


class SigningKey:
    """An ed25519 key of a device, whose name is the device's id, or for cross-signing, whose name is the key
    itself."""

    def __init__(self, name: str | None = None):
        self.key = ECC.construct(curve="Ed25519", seed=secrets.token_bytes(32))
        self.public_key = unpadded(self.key.public_key().export_key(format="raw"))
        self.name = name or self.public_key

    @property
    def key_id(self) -> str:
        return f"ed25519:{self.name}"

    def sign(self, object: dict, user_id: str) -> dict:
        """A copy of the object with this key's signature."""
        signed = copy.deepcopy(object)
        covered = {key: value for key, value in object.items() if key not in ("signatures", "unsigned")}
        signature = unpadded(eddsa.new(self.key, "rfc8032").sign(canonical(covered)))
        signed.setdefault("signatures", {}).setdefault(user_id, {})[self.key_id] = signature
        return signed


class Device:
    """The keys of a client's device."""

    def __init__(self, client: Client):
        self.client = client
        self.key = SigningKey(client.device_id)

    def device_keys(self, **changes) -> dict:
        device_id = self.client.device_id
        keys = {
            "user_id": self.client.user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"ed25519:{device_id}": self.key.public_key,
                f"curve25519:{device_id}": unpadded(secrets.token_bytes(32)),
            },
            **changes,
        }
        return self.key.sign(keys, self.client.user_id)

    def publish(self) -> dict:
        """Uploads device keys, and returns them."""
        keys = self.device_keys()
        self.client.post("/keys/upload", {"device_keys": keys})
        return keys

    def signed_key(self, **more) -> dict:
        return self.key.sign({"key": unpadded(secrets.token_bytes(32)), **more}, self.client.user_id)

    def one_time_keys(self, count: int) -> dict:
        return {f"signed_curve25519:K{next(KEY_NUMBERS):06}": self.signed_key() for _ in range(count)}


class CrossSigning:
    """A user's three cross-signing keys."""

    def __init__(self, user_id: str):
        self.user_id = user_id
        self.master, self.self_signing, self.user_signing = SigningKey(), SigningKey(), SigningKey()

    def object(self, key: SigningKey, usage: str) -> dict:
        return {"user_id": self.user_id, "usage": [usage], "keys": {key.key_id: key.public_key}}

    def master_key(self) -> dict:
        return self.object(self.master, "master")

    def upload(self) -> dict:
        """The body of an upload of all three."""
        return {
            "master_key": self.master_key(),
            "self_signing_key": self.master.sign(
                self.object(self.self_signing, "self_signing"), self.user_id
            ),
            "user_signing_key": self.master.sign(
                self.object(self.user_signing, "user_signing"), self.user_id
            ),
        }


def query(client: Client, *users: Client) -> dict:
    """Asks for all keys of users."""
    return client.post("/keys/query", {"device_keys": {user.user_id: [] for user in users}})


def claim(client: Client, device: Client, algorithm: str = "signed_curve25519") -> dict:
    """Claims a key of a device; the keys given, by name."""
    wanted = {device.user_id: {device.device_id: algorithm}}
    answer = client.post("/keys/claim", {"one_time_keys": wanted})
    return answer["one_time_keys"].get(device.user_id, {}).get(device.device_id, {})
