"""The vault's HTTP API, called without an agent: every route, and everything that must be refused."""

import base64
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time

import nacl.signing
import pytest
import yaml

from vaultlib import (REPO, Pack, Point, Server, Vault, credentials_auth, delta_map, full_map, record_bytes, slot_bytes,
                      varint, vault_binary, xxh3)

CALLED = set()


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    vault = Vault(tmp_path_factory.mktemp("vault"))
    vault.start("--verbose")
    original = vault.call

    def call(method, path, *args, **kwargs):
        CALLED.add((method, re.sub(r"^https://[^/]+", "", path).split("?")[0]))
        return original(method, path, *args, **kwargs)

    vault.call = call
    vault.register = vault.credentials()
    vault.count = 0
    yield vault
    vault.stop()


@pytest.fixture
def server(vault):
    vault.count += 1
    server = Server(vault, vault.register, name=f"server{vault.count}")
    server.register()
    return server


@pytest.fixture
def other(vault):
    vault.count += 1
    other = Server(vault, vault.register, name=f"other{vault.count}")
    other.register()
    return other


class unchanged:
    """with unchanged(vault): nothing in the database or the store is different afterwards (jobs and time apart)."""

    def __init__(self, vault, ignore=()):
        self.vault, self.ignore = vault, ignore

    def __enter__(self):
        self.before = self.vault.dump()

    def __exit__(self, kind, *rest):
        if kind is None:
            after = self.vault.dump()
            for name in self.before:
                if name not in self.ignore:
                    assert self.before[name] == after[name], name


# --- version, headers, addresses ---------------------------------------------------------------------------

def test_version(vault):
    reply = vault.call("GET", "/v1/version")
    body = reply.json()
    assert body["vault_name"] == "test vault" and body["protocol"] == {"min": 1, "max": 1}
    assert reply.headers["Coffer-Protocol"] == "1-1"


def test_protocol_mismatch_names_the_side(vault, server):
    with unchanged(vault):
        error = server.refused("GET", "/v1/self", 426, 130003, headers={"Coffer-Protocol": "2"})
        assert "vault" in error["message"]
        error = server.refused("GET", "/v1/self", 426, 130003, headers={"Coffer-Agent": "0.0.9"})
        assert "agent" in error["message"]
        server.refused("GET", "/v1/self", 400, 900507, headers={"Coffer-Protocol": "x"})


def test_unknown_addresses_and_methods(vault, server):
    with unchanged(vault):
        server.refused("GET", "/", 404)
        server.refused("GET", "/v1/nothing", 404)
        server.refused("GET", "/v1/records/%2f%2e", 404)
        server.refused("DELETE", "/v1/points", 405)
        server.refused("DELETE", f"/v1/points/{'0' * 64}", 405)
        server.refused("DELETE", "/v1/packs/1", 404)


def test_only_new_tls(vault):
    context = ssl.create_default_context(cafile=vault.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    host, port = vault.base[8:].rsplit(":", 1)
    with socket.create_connection((host, int(port))) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")
    good = ssl.create_default_context(cafile=vault.ca)
    with socket.create_connection((host, int(port))) as plain:
        with good.wrap_socket(plain, server_hostname="localhost") as tls:
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
            assert "GCM" in tls.cipher()[0] or "CHACHA" in tls.cipher()[0]


# --- credentials ----------------------------------------------------------------------------------------------

def test_credentials_check(vault):
    body = vault.call("POST", "/v1/credentials:check", credentials_auth(vault.register), json={}).json()
    assert body["purpose"] == "register" and body["vault_name"] == "test vault"


def test_credentials_refused(vault):
    fake = {"secret": secrets.token_hex(32)}
    restore = vault.credentials("restore")
    newer = vault.credentials("restore")
    candidate = Server(vault, newer, name="nobody")
    with unchanged(vault):
        vault.refused("POST", "/v1/credentials:check", None, 401, 900505, "missing", json={})
        vault.refused("POST", "/v1/credentials:check", "Bearer " + "0" * 64, 401, 900505, json={})
        vault.refused("POST", "/v1/credentials:check", "Coffer-Credentials zz", 401, 900505, json={})
        vault.refused("POST", "/v1/credentials:check", credentials_auth(fake), 401, 34513, "unknown", json={})
        vault.refused("POST", "/v1/credentials:check", credentials_auth(restore), 401, 34513, "superseded", json={})
        vault.refused("POST", "/v1/servers", credentials_auth(newer), 401, 34513, "wrong_purpose",
                      json=candidate.registration())
        vault.refused("POST", "/v1/servers", credentials_auth(restore), 401, 34513, "superseded",
                      json=candidate.registration())
    # The register file was not superseded by restore files.
    vault.call("POST", "/v1/credentials:check", credentials_auth(vault.register), json={})


def test_expired_credentials(vault):
    restore = vault.credentials("restore")
    sha = hashlib.sha256(bytes.fromhex(restore["secret"])).digest()
    database = sqlite3.connect(vault.path / "vault.db", timeout=30)
    database.execute("UPDATE credentials SET expires=? WHERE secret_sha256=?", (int(time.time()) - 1, sha))
    database.commit()
    database.close()
    with unchanged(vault):
        vault.refused("POST", "/v1/credentials:check", credentials_auth(restore), 401, 34513, "expired", json={})
        vault.refused("GET", "/v1/servers", credentials_auth(restore), 401, 34513, "expired")
    database = sqlite3.connect(vault.path / "vault.db", timeout=30)
    database.execute("UPDATE credentials SET expires=issued+864000 WHERE secret_sha256=?", (sha,))
    database.commit()
    database.close()


def test_credentials_command(vault, tmp_path):
    name = tmp_path / "c"
    name.write_text("mine")
    with unchanged(vault):
        assert vault.run("credentials", vault.path, "--output", name, check=False).returncode == 1
        assert name.read_text() == "mine"
    vault.run("credentials", vault.path, "--output", name, "--purpose", "restore", "--force")
    assert name.stat().st_mode & 0o777 == 0o600
    body = json.loads(name.read_text())
    checksum = body.pop("checksum")
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == checksum
    assert body["purpose"] == "restore" and body["ca"].startswith("-----BEGIN CERTIFICATE")
    assert name.read_text() not in (vault.path / "vault.db").read_bytes().decode("latin-1")
    assert bytes.fromhex(body["secret"]) not in (vault.path / "vault.db").read_bytes()


# --- registration --------------------------------------------------------------------------------------------

def test_register_is_idempotent(vault, server):
    with unchanged(vault):
        assert server.register().json() == {"server_id": server.id.hex(), "name": server.name}


def test_register_refused(vault, server):
    auth = credentials_auth(vault.register)

    def changed(**members):
        return {**server.registration(), **members}

    fresh = Server(vault, vault.register, name="fresh")
    with unchanged(vault):
        same_name = Server(vault, vault.register, name=server.name)
        vault.refused("POST", "/v1/servers", auth, 409, 34511, json=same_name.registration())
        # The ID is taken, with other keys.
        vault.refused("POST", "/v1/servers", auth, 409, 900509, "server_id",
                      json=changed(token_sha256=secrets.token_hex(32)))
        # The token belongs to another server.
        stolen = fresh.registration()
        stolen["token_sha256"] = server.registration()["token_sha256"]
        vault.refused("POST", "/v1/servers", auth, 409, 900509, "token", json=stolen)
        # Slots of another server, number or key.
        for slot in (slot_bytes(secrets.token_bytes(16), 1, bytes(fresh.key.verify_key)),
                     slot_bytes(fresh.id, 2, bytes(fresh.key.verify_key)),
                     slot_bytes(fresh.id, 1, secrets.token_bytes(32))):
            bad = fresh.registration()
            bad["slot"] = base64.b64encode(slot).decode()
            vault.refused("POST", "/v1/servers", auth, 400, 900507, "slot", json=bad)
        bad = fresh.registration()
        bad["slot"] = base64.b64encode(fresh.slot[:-1]).decode()
        vault.refused("POST", "/v1/servers", auth, 400, json=bad)
        cheap = bytearray(fresh.slot)
        cheap[28:32] = (1024).to_bytes(4, "little")
        bad["slot"] = base64.b64encode(cheap).decode()
        vault.refused("POST", "/v1/servers", auth, 400, 900201, json=bad)
        for member, values in {"server_id": ["", "zz", 5, None, server.id.hex() + "00"], "name": ["", "a\nb", "x" * 256, 7],
                               "auth_key": ["00"], "slot": ["!!", 3], "token_sha256": ["00"], "new": ["yes"]}.items():
            for value in values:
                body = fresh.registration()
                body[member] = value
                vault.refused("POST", "/v1/servers", auth, 400, 900507, json=body)
            body = fresh.registration()
            if member != "new":
                del body[member]
                vault.refused("POST", "/v1/servers", auth, 400, 900507, json=body)
        vault.refused("POST", "/v1/servers", None, 401, json=fresh.registration())
        vault.refused("POST", "/v1/servers", server.auth, 401, json=fresh.registration())


def test_same_name_as_a_new_server(vault, server):
    twin = Server(vault, vault.register, name=server.name, new=True)
    twin.register()
    listed = vault.call("GET", "/v1/servers", credentials_auth(vault.register)).json()["servers"]
    assert [s["name"] for s in listed].count(server.name) == 2


# --- malformed and oversized -----------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"a":1,"a":2}', b"\xff\xfe", b'{"a":"\xff"}', b"{}x",
                                  b"[" * 5000 + b"]" * 5000, b'{"session":' + b'{"x":' * 100 + b"1" + b"}" * 101])
def test_malformed_json(vault, server, body):
    with unchanged(vault):
        server.refused("POST", "/v1/sessions", 400, 900507, "json", data=body)


def test_oversized_bodies(vault, server):
    server.open_session()
    with unchanged(vault):
        big = b'{"x":"' + b"a" * (1 << 20) + b'"}'
        server.refused("POST", "/v1/sessions", 413, 900002, data=big)
        server.refused("PUT", f"/v1/records/{server.session.hex()}", 413, 900002, data=bytes(133))

        def pieces():
            for _ in range(300):
                yield b"a" * 8192

        server.refused("POST", "/v1/sessions", 413, 900002, data=pieces())  # chunked: no length announced
        # A point of more than 100 MiB is refused by its announced length, before the bytes.
        reply = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "--cacert", vault.ca, "-X", "PUT",
             "-H", f"Authorization: {server.auth}", "-H", "Expect: 100-continue", "--data-binary", "@-",
             f"{vault.base}/v1/points/{'0' * 64}"], input=bytes(101 << 20), capture_output=True, timeout=60)
        status, sent = reply.stdout.decode().split()
        assert status == "413" and int(sent) < 1 << 20


def test_huge_header(vault):
    host, port = vault.base[8:].rsplit(":", 1)
    context = ssl.create_default_context(cafile=vault.ca)
    with socket.create_connection((host, int(port))) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            try:
                tls.sendall(b"GET /v1/version HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * (4 << 20))
                answer = tls.recv(100)
            except OSError:
                answer = b""
    assert answer == b"" or b" 431 " in answer or b" 413 " in answer or b" 400 " in answer
    vault.call("GET", "/v1/version")


# --- tokens ----------------------------------------------------------------------------------------------------

TOKEN_ROUTES = [("GET", "/v1/self"), ("PATCH", "/v1/self"), ("DELETE", "/v1/self/token"), ("GET", "/v1/slots"),
                ("POST", "/v1/slots"), ("PUT", "/v1/records/" + "0" * 32), ("GET", "/v1/records/" + "0" * 32),
                ("POST", "/v1/sessions"), ("POST", f"/v1/sessions/{'0' * 32}:heartbeat"),
                ("POST", f"/v1/sessions/{'0' * 32}:numbers"), ("POST", f"/v1/sessions/{'0' * 32}:close"),
                ("POST", "/v1/packs/1:upload"), ("POST", "/v1/packs/1:commit"), ("POST", "/v1/packs:download"),
                ("GET", "/v1/packs"), ("PUT", "/v1/points/" + "0" * 64), ("GET", "/v1/points"),
                ("GET", "/v1/points/" + "0" * 64), ("GET", f"/v1/points/{'0' * 64}/map"), ("POST", "/v1/leases"),
                ("POST", f"/v1/leases/{'0' * 32}:renew"), ("DELETE", "/v1/leases/" + "0" * 32),
                ("GET", "/v1/policy"), ("PUT", "/v1/policy"),
                ("PUT", "/v1/jobs/" + "0" * 32), ("GET", "/v1/jobs")]


@pytest.mark.parametrize("method,path", TOKEN_ROUTES)
def test_no_route_without_a_token(vault, method, path):
    with unchanged(vault):
        for auth in (None, "Bearer", "Bearer " + "0" * 63, "Bearer " + "0" * 64, "Basic " + "0" * 64,
                     credentials_auth(vault.register)):
            vault.refused(method, path, auth, 401, 900505)


def unlock(vault, server, credentials, purpose, token=None, key=None, **members):
    auth = credentials_auth(credentials)
    challenge = vault.call("POST", f"/v1/servers/{server.id.hex()}:challenge", auth, json={}).json()
    token = token or secrets.token_bytes(32)
    message = b"coffer unlock" + server.id + bytes.fromhex(challenge["challenge"]) + hashlib.sha256(token).digest()
    signature = (key or server.key).sign(message).signature
    body = {"challenge": challenge["challenge"], "signature": base64.b64encode(signature).decode(),
            "token_sha256": hashlib.sha256(token).hexdigest(), "purpose": purpose, **members}
    return token, body, challenge


def test_read_token(vault, server, other):
    point = server.backup()
    restore = vault.credentials("restore")
    auth = credentials_auth(restore)
    token, body, challenge = unlock(vault, server, restore, "read")
    assert base64.b64decode(challenge["kdf"]["salt"]) == server.slot[40:56]
    assert challenge["kdf"]["memory_kib"] == 262144 and challenge["kdf"]["passes"] == 3
    path = f"/v1/servers/{server.id.hex()}:unlock"
    answer = vault.call("POST", path, auth, json=body).json()
    assert base64.b64decode(answer["slot"]) == server.slot and answer["name"] == server.name and answer["token_expires"]
    with unchanged(vault):  # the same request again: the same answer
        assert vault.call("POST", path, auth, json=body).json()["slot"] == answer["slot"]
    read = "Bearer " + token.hex()
    assert [p["id"] for p in vault.call("GET", "/v1/points", read).json()["points"]] == [point.id.hex()]
    assert vault.call("GET", f"/v1/points/{point.id.hex()}", read).content == point.bytes
    assert vault.call("GET", "/v1/self", read).json()["purpose"] == "read"
    lease = secrets.token_hex(16)
    vault.call("POST", "/v1/leases", read, json={"lease": lease, "kind": "restore", "points": [point.id.hex()]})
    # The token lasts as long as its lease is renewed, for 30 days at most.
    token_id, now = hashlib.sha256(token).digest(), int(time.time())
    database = sqlite3.connect(vault.path / "vault.db", timeout=30)
    for issued, expires, after in ((now, now + 80000, now + 80000), (now, now + 600, now + 86400),
                                   (now - 30 * 86400 + 900, now + 600, now + 900)):
        database.execute("UPDATE tokens SET issued=?, expires=? WHERE sha256=?", (issued, expires, token_id))
        database.commit()
        vault.call("POST", f"/v1/leases/{lease}:renew", read, json={})
        assert 0 <= database.execute("SELECT expires FROM tokens WHERE sha256=?", (token_id,)).fetchone()[0] - after < 60
    database.execute("UPDATE tokens SET issued=?, expires=? WHERE sha256=?", (now, now + 86400, token_id))
    database.commit()
    database.close()
    vault.call("DELETE", f"/v1/leases/{lease}", read)
    session = secrets.token_hex(16)
    with unchanged(vault):
        for method, path in TOKEN_ROUTES:
            if (method, path.split("/")[2].split(":")[0]) in {("PATCH", "self"), ("POST", "slots"), ("PUT", "records"),
                                                              ("POST", "sessions"), ("PUT", "points"), ("PUT", "jobs"),
                                                              ("PUT", "policy")} \
                    or ":upload" in path or ":commit" in path:
                vault.refused(method, path, read, 403, 900506, "read_only")
    assert session
    vault.call("DELETE", "/v1/self/token", read)
    with unchanged(vault):
        vault.refused("GET", "/v1/self", read, 401, 900505, "revoked")
    server.call("GET", "/v1/self")


def test_read_token_expires(vault, server):
    token, body, _ = unlock(vault, server, vault.register, "read")
    vault.call("POST", f"/v1/servers/{server.id.hex()}:unlock", credentials_auth(vault.register), json=body)
    database = sqlite3.connect(vault.path / "vault.db", timeout=30)
    database.execute("UPDATE tokens SET expires=? WHERE sha256=?", (int(time.time()) - 1, hashlib.sha256(token).digest()))
    database.commit()
    database.close()
    vault.refused("GET", "/v1/self", "Bearer " + token.hex(), 401, 900505, "expired")


def test_unlock_refused(vault, server, other):
    restore = vault.credentials("restore")
    auth, path = credentials_auth(restore), f"/v1/servers/{server.id.hex()}:unlock"
    vault.refused("POST", f"/v1/servers/{secrets.token_hex(16)}:challenge", auth, 404, 900508, json={})
    vault.refused("POST", "/v1/servers/xyz:challenge", auth, 404, 900508, json={})
    token, body, _ = unlock(vault, server, restore, "read", key=nacl.signing.SigningKey.generate())
    with unchanged(vault, ignore=["challenges"]):
        vault.refused("POST", path, auth, 403, 34507, json=body)
        vault.refused("GET", "/v1/self", "Bearer " + token.hex(), 401)
        # A wrong signature has used the challenge up: the right one comes too late.
        body["signature"] = base64.b64encode(server.key.sign(
            b"coffer unlock" + server.id + bytes.fromhex(body["challenge"]) + hashlib.sha256(token).digest()).signature).decode()
        vault.refused("POST", path, auth, 403, 900506, "challenge", json=body)
    token, body, _ = unlock(vault, server, restore, "read")
    with unchanged(vault, ignore=["challenges"]):
        # For another server, another token, an unknown challenge, a register purpose.
        vault.refused("POST", f"/v1/servers/{other.id.hex()}:unlock", auth, 403, json=body)
        vault.refused("POST", path, auth, 403, 900506, "challenge", json={**body, "challenge": secrets.token_hex(32)})
        vault.refused("POST", path, auth, 401, 34513, "wrong_purpose",
                      json={**body, "purpose": "agent", "instance": secrets.token_hex(16)})
        vault.refused("POST", path, auth, 400, 900507, json={**body, "purpose": "everything"})
        vault.refused("POST", path, auth, 400, 900507, json={**body, "signature": "AAAA"})
        vault.refused("POST", path, auth, 409, 900509, "token",
                      json={**body, "token_sha256": hashlib.sha256(server.token).hexdigest()})


def test_guessing_is_slow(vault, server, other):
    auth = credentials_auth(vault.register)
    for _ in range(10):
        vault.call("POST", f"/v1/servers/{server.id.hex()}:challenge", auth, json={})
    with unchanged(vault):
        reply = vault.call("POST", f"/v1/servers/{server.id.hex()}:challenge", auth, 429, json={})
        assert reply.json()["error"]["code"] == 900504 and 1 <= int(reply.headers["Retry-After"]) <= 60
        vault.refused("POST", f"/v1/servers/{server.id.hex()}:unlock", auth, 429, 900504, json={
            "challenge": "0" * 64, "signature": base64.b64encode(bytes(64)).decode(), "token_sha256": "0" * 64,
            "purpose": "read"})
    vault.call("POST", f"/v1/servers/{other.id.hex()}:challenge", auth, json={})  # others are not held up


def test_takeover(vault, server):
    point = server.backup()
    server.open_session()
    instance = secrets.token_bytes(16)
    token, body, _ = unlock(vault, server, vault.register, "agent", name=server.name + " again", instance=instance.hex())
    path = f"/v1/servers/{server.id.hex()}:unlock"
    answer = vault.call("POST", path, credentials_auth(vault.register), json=body).json()
    assert answer["token_expires"] is None and answer["name"].endswith(" again")
    server.refused("GET", "/v1/self", 401, 900505, "revoked")
    with unchanged(vault):
        vault.refused("POST", f"/v1/sessions/{server.session.hex()}:heartbeat", "Bearer " + token.hex(), 410, 900501, json={})
        vault.call("POST", path, credentials_auth(vault.register), json=body)
    server.token, server.auth, server.instance = token, "Bearer " + token.hex(), instance
    server.name += " again"
    me = server.call("GET", "/v1/self").json()
    assert me["newest"]["id"] == point.id.hex() and me["name"] == server.name
    server.backup()


# --- self, slots, records -------------------------------------------------------------------------------------

def test_rename(vault, server):
    server.call("PATCH", "/v1/self", json={"name": "renamed " + server.name})
    assert server.call("GET", "/v1/self").json()["name"] == "renamed " + server.name
    with unchanged(vault):
        server.call("PATCH", "/v1/self", json={"name": "renamed " + server.name})
        server.refused("PATCH", "/v1/self", 400, 900507, json={"name": ""})
        server.refused("PATCH", "/v1/self", 400, 900507, json={})


def test_slots(vault, server, other):
    second = slot_bytes(server.id, 2, bytes(server.key.verify_key))
    body = {"number": 2, "slot": base64.b64encode(second).decode()}
    listed = server.call("GET", "/v1/slots").json()["slots"]
    assert [(s["number"], base64.b64decode(s["slot"])) for s in listed] == [(1, server.slot)]
    with unchanged(vault):
        server.call("POST", "/v1/slots", json={"number": 1, "slot": base64.b64encode(server.slot).decode()})
        again = slot_bytes(server.id, 1, bytes(server.key.verify_key))
        server.refused("POST", "/v1/slots", 409, 900509, json={"number": 1, "slot": base64.b64encode(again).decode()})
        server.refused("POST", "/v1/slots", 400, 900507, json={"number": 3, "slot": base64.b64encode(again).decode()})
        other.refused("POST", "/v1/slots", 400, 900507, json=body)
        server.refused("POST", "/v1/slots", 400, json={"number": 0, "slot": base64.b64encode(again).decode()})
        far = slot_bytes(server.id, 1000, bytes(server.key.verify_key))
        server.refused("POST", "/v1/slots", 400, 900507, json={"number": 1000, "slot": base64.b64encode(far).decode()})
    # Another passphrase: the newest slot is offered first, the one before it still opens.
    for _ in range(2):
        server.call("POST", "/v1/slots", json=body)
    listed = server.call("GET", "/v1/slots").json()["slots"]
    assert [(s["number"], base64.b64decode(s["slot"])) for s in listed] == [(1, server.slot), (2, second)]
    assert all(s["added"] for s in listed)
    offered = vault.call("POST", f"/v1/servers/{server.id.hex()}:challenge", json={},
                         auth=credentials_auth(vault.register)).json()["slots"]
    assert [(s["number"], s["kind"]) for s in offered] == [(2, "passphrase"), (1, "passphrase")]
    with unchanged(vault):
        below = slot_bytes(server.id, 1, bytes(server.key.verify_key))
        server.refused("POST", "/v1/slots", 409, 900509, json={"number": 1, "slot": base64.b64encode(below).decode()})


def test_kits(vault, server, other):
    secret = secrets.token_bytes(32)
    body = {"secret_sha256": hashlib.sha256(secret).hexdigest()}
    for _ in range(2):
        answer = server.call("POST", "/v1/kits", json=body).json()
        assert answer["purpose"] == "kit" and "BEGIN CERTIFICATE" in answer["ca"]
    with unchanged(vault):
        other.refused("POST", "/v1/kits", 409, 900509, json=body)
        server.refused("POST", "/v1/kits", 400, 900507, json={"secret_sha256": "00"})
        server.refused("POST", "/v1/kits", 400, 900507, json={})


def test_records(vault, server, other):
    session = secrets.token_bytes(16)
    record = record_bytes(server.id, session)
    path = f"/v1/records/{session.hex()}"
    server.call("PUT", path, data=record)
    assert server.call("GET", path).content == record
    with unchanged(vault):
        server.call("PUT", path, data=record)
        server.refused("PUT", path, 409, 900509, data=record_bytes(server.id, session))
        server.refused("PUT", path, 400, data=record[:-1])
        server.refused("PUT", f"/v1/records/{secrets.token_hex(16)}", 400, 900507, data=record)
        other.refused("PUT", path, 400, 900507, data=record)
        other.refused("GET", path, 404, 900508)


# --- sessions ------------------------------------------------------------------------------------------------

def test_sessions(vault, server):
    first = server.open_session()
    assert first["lease_seconds"] == 120 and first["numbers"]["count"] == 1024 and first["newest"] is None
    assert first["feed"] == [] and first["epoch"]
    with unchanged(vault, ignore=["sessions"]):
        assert server.open_session(server.session) == first
        server.call("POST", f"/v1/sessions/{server.session.hex()}:heartbeat", json={})
    last = first["numbers"]["first"] + 1023
    more = server.call("POST", f"/v1/sessions/{server.session.hex()}:numbers", json={"after": last}).json()
    assert more["first"] > last
    with unchanged(vault):
        assert server.call("POST", f"/v1/sessions/{server.session.hex()}:numbers", json={"after": last}).json() == more
        server.refused("POST", f"/v1/sessions/{server.session.hex()}:numbers", 400, json={"after": last - 1})
        server.refused("POST", f"/v1/sessions/{server.session.hex()}:numbers", 400, json={"after": 0})
        server.refused("POST", f"/v1/sessions/{server.session.hex()}:numbers", 400, json={"after": 1 << 40})
    old = server.session
    second = server.open_session()
    assert second["numbers"]["first"] > more["first"]
    with unchanged(vault):
        server.refused("POST", f"/v1/sessions/{old.hex()}:heartbeat", 410, 900501, "superseded", json={})
        server.refused("POST", f"/v1/sessions/{old.hex()}:numbers", 410, 900501, json={"after": last})
        server.refused("POST", f"/v1/sessions/{secrets.token_hex(16)}:heartbeat", 410, 900501, "unknown", json={})
    server.call("POST", f"/v1/sessions/{server.session.hex()}:close", json={})
    with unchanged(vault):
        server.call("POST", f"/v1/sessions/{server.session.hex()}:close", json={})
        server.refused("POST", f"/v1/sessions/{server.session.hex()}:heartbeat", 410, 900501, "closed", json={})


def test_another_instance(vault, server):
    server.open_session()
    mine, server.instance = server.instance, secrets.token_bytes(16)
    held = server.session
    with unchanged(vault):
        server.open_session(status=409)
        server.open_session(held, status=409)
    server.instance = mine
    server.session = held
    server.call("POST", f"/v1/sessions/{held.hex()}:close", json={})
    server.instance = secrets.token_bytes(16)
    server.open_session()


def test_sessions_of_others(vault, server, other):
    server.open_session()
    with unchanged(vault):
        other.refused("POST", f"/v1/sessions/{server.session.hex()}:heartbeat", 410, json={})
        other.refused("POST", f"/v1/sessions/{server.session.hex()}:close", 410, json={})


def test_lease_runs_out(vault, server):
    server.open_session()
    database = sqlite3.connect(vault.path / "vault.db", timeout=30)
    database.execute("UPDATE sessions SET lease_until=? WHERE id=?", (int(time.time()) - 1, server.session))
    database.commit()
    database.close()
    server.refused("POST", f"/v1/sessions/{server.session.hex()}:heartbeat", 410, 900501, "expired", json={})


# --- packs ----------------------------------------------------------------------------------------------------

def test_pack_round_trip(vault, server):
    server.open_session()
    pack = server.store(5, kind=1)
    listed = server.call("GET", "/v1/packs").json()
    assert listed == {"packs": [{"number": pack.number, "session": pack.session.hex(), "kind": "tree",
                                 "size": len(pack.bytes), "segments": 5, "retired": []}], "more": False}
    with unchanged(vault):
        assert server.announce(pack) == {"committed": True}
        server.commit(pack)
    answer = server.call("POST", "/v1/packs:download", json={"packs": [pack.number, pack.number + 500]}).json()["packs"]
    assert base64.b64decode(answer[0]["header"]) == pack.header and base64.b64decode(answer[0]["tail"]) == pack.tail
    assert answer[1]["number"] == pack.number + 500 and answer[1]["error"]["code"] == 900508
    url = answer[0]["url"]
    assert vault.call("GET", url).content == pack.bytes
    for header, part, status in (("bytes=0-0", pack.bytes[:1], 206), ("bytes=100-1099", pack.bytes[100:1100], 206),
                                 ("bytes=4000-", pack.bytes[4000:], 206), ("bytes=-40", pack.bytes[-40:], 206),
                                 (f"bytes=10-{1 << 40}", pack.bytes[10:], 206), ("bytes=5-4", pack.bytes, 200),
                                 ("lines=1-2", pack.bytes, 200), ("bytes=0-1,3-4", pack.bytes, 200)):
        reply = vault.call("GET", url, status=status, headers={"Range": header})
        assert reply.content == part, header
        if status == 206:
            assert reply.headers["Content-Range"].endswith(f"/{len(pack.bytes)}")
    vault.refused("GET", url, None, 416, headers={"Range": f"bytes={len(pack.bytes)}-"})
    vault.refused("GET", url, None, 416, headers={"Range": "bytes=-0"})


def test_pack_listing_pages(vault, server):
    server.open_session()
    numbers = [server.store(1).number for _ in range(5)]
    page = server.call("GET", "/v1/packs?limit=2").json()
    assert [p["number"] for p in page["packs"]] == numbers[:2] and page["more"]
    page = server.call("GET", f"/v1/packs?after={numbers[3]}&limit=2").json()
    assert [p["number"] for p in page["packs"]] == numbers[4:] and not page["more"]
    for query in ("limit=0", "limit=x", "limit=100000", "after=-1"):
        server.refused("GET", f"/v1/packs?{query}", 400, 900507)


def test_upload_refused(vault, server, other):
    server.open_session()
    pack = server.make_pack()
    other.open_session()
    with unchanged(vault):
        for wrong in (0, 1 << 48, "x"):
            server.refused("POST", f"/v1/packs/{wrong}:upload", 400, json=pack.announce())
        server.refused("POST", f"/v1/packs/{pack.number + 5000}:upload", 403, 900506, "number", json=pack.announce())
        server.refused("POST", f"/v1/packs/{pack.number}:upload", 403, 900506, "number",
                       json={**pack.announce(), "session": secrets.token_hex(16)})
        other.refused("POST", f"/v1/packs/{pack.number}:upload", 403, 900506, "number", json=pack.announce())
        for member, value in (("size", 0), ("size", (256 << 20) + 1), ("size", -1), ("size", "1"), ("xxh3", "00"),
                              ("session", "00")):
            server.refused("POST", f"/v1/packs/{pack.number}:upload", 400, 900507, json={**pack.announce(), member: value})
    url = server.announce(pack)["url"]
    damaged = pack.bytes[:-1] + bytes([pack.bytes[-1] ^ 1])
    with unchanged(vault):
        vault.refused("PUT", url, None, 400, 900511, "sum", data=damaged)
        vault.refused("PUT", url, None, 400, 900511, "size", data=pack.bytes[:-1])
        vault.refused("PUT", url, None, 400, 900511, "size", data=pack.bytes + b"x")
        vault.refused("PUT", url, None, 400, 900511, "size", data=iter([pack.bytes[:100]]))
        vault.refused("PUT", url, None, 400, 900511, "size", data=iter([pack.bytes, b"x"]))
        vault.refused("GET", url, None, 403, 900506, "url")
        for change in (("size=", "size=1"), ("op=put", "op=get"), ("xxh3=", "xxh3=00"), ("server=", "server=00"),
                       ("session=", "session=ff"), ("expires=", "expires=9"), ("sig=", "sig=00"), ("&sig", "&gis")):
            vault.refused("PUT", url.replace(*change), None, 403, 900506, "url", data=pack.bytes)
        vault.refused("PUT", url.replace(f"/blobs/{pack.number}", f"/blobs/{pack.number + 1}"), None, 403, 900506, "url",
                      data=pack.bytes)
        vault.refused("PUT", url.split("?")[0], None, 403, 900506, "url", data=pack.bytes)
        server.refused("POST", f"/v1/packs/{pack.number}:commit", 404, 900508, "not_uploaded",
                       json={**pack.announce(), "tail": base64.b64encode(pack.tail).decode()})
    vault.call("PUT", url, status=201, data=pack.bytes)
    with unchanged(vault):
        vault.call("PUT", url, status=201, data=pack.bytes)  # again: fine
        liar = Pack(server.id, server.session, pack.number, 4)
        other_url = server.announce(liar)["url"]
        vault.refused("PUT", other_url, None, 409, 900509, "uploaded", data=liar.bytes)
        server.refused("POST", f"/v1/packs/{pack.number}:commit", 400, 900511, "tail",
                       json={**pack.announce(), "tail": base64.b64encode(pack.tail[32:]).decode()})
        server.refused("POST", f"/v1/packs/{pack.number}:commit", 400, 900511, "sum",
                       json={**pack.announce(), "xxh3": "00" * 16, "tail": base64.b64encode(pack.tail).decode()})
    server.commit(pack)
    with unchanged(vault):
        server.refused("POST", f"/v1/packs/{pack.number}:upload", 409, 900509, "committed", json=liar.announce())
        server.refused("POST", f"/v1/packs/{pack.number}:commit", 409, 900509, "committed",
                       json={**liar.announce(), "tail": base64.b64encode(liar.tail).decode()})


def upload_raw(server, number, data, tail):
    body = {"session": server.session.hex(), "size": len(data), "xxh3": xxh3(data).hex()}
    url = server.call("POST", f"/v1/packs/{number}:upload", json=body).json()["url"]
    server.vault.call("PUT", url, status=201, data=data)
    return {**body, "tail": base64.b64encode(tail).decode()}


def test_commit_checks_what_is_inside(vault, server, other):
    server.open_session()
    first = server.make_pack()
    # A segment that is not what its extent says; the frame of another server, session, number; no pack at all.
    flipped = bytearray(first.bytes)
    flipped[130] ^= 1
    body = upload_raw(server, first.number, bytes(flipped), first.tail)
    with unchanged(vault):
        server.refused("POST", f"/v1/packs/{first.number}:commit", 400, 900511, "extent", json=body)
    for wrong in (Pack(other.id, server.session, server.next, 2), Pack(server.id, secrets.token_bytes(16), server.next, 2),
                  Pack(server.id, server.session, server.next + 50, 2)):
        number, server.next = server.next, server.next + 1
        body = upload_raw(server, number, wrong.bytes, wrong.tail)
        with unchanged(vault):
            server.refused("POST", f"/v1/packs/{number}:commit", 400, 900511, "header", json=body)
    number, server.next = server.next, server.next + 1
    body = upload_raw(server, number, secrets.token_bytes(5000), b"")
    with unchanged(vault):
        server.refused("POST", f"/v1/packs/{number}:commit", 400, 900201, json=body)


def test_lost_object(vault, server):
    """An object that vanished from the folder is an answer at once, not a reason to try again."""
    server.open_session()
    pack = server.store()
    url = server.call("POST", "/v1/packs:download", json={"packs": [pack.number]}).json()["packs"][0]["url"]
    stored = next((vault.path / "objects").rglob(f"{pack.number:016x}-{pack.session.hex()}"))
    stored.unlink()
    vault.refused("GET", url, None, 404, 480004)
    stored.write_bytes(pack.bytes[:200])
    vault.refused("GET", url, None, 416, headers={"Range": "bytes=300-400"})
    stored.write_bytes(pack.bytes)
    assert vault.call("GET", url).content == pack.bytes


def test_download_refused(vault, server, other):
    server.open_session()
    pack = server.store()
    with unchanged(vault):
        answer = other.call("POST", "/v1/packs:download", json={"packs": [pack.number]}).json()["packs"][0]
        assert "url" not in answer and answer["error"]
        for packs in ([0], ["1"], [1 << 50], list(range(1, 258)), "all", None):
            server.refused("POST", "/v1/packs:download", 400, 900507, json={"packs": packs})


def test_kill_in_the_middle_of_an_upload(vault, server):
    """The bytes of an upload that never ended are nowhere afterwards; the same upload works after the restart."""
    server.open_session()
    big = Pack(server.id, server.session, server.next, {i: secrets.token_bytes(400000) for i in range(8)})
    url = server.announce(big)["url"]
    sent, killed = threading.Event(), threading.Event()
    failed = []

    def pieces():
        yield big.bytes[:2000000]
        sent.set()
        killed.wait(20)
        yield big.bytes[2000000:]

    def put():
        try:
            vault.http.put(url, data=pieces(), timeout=60)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=put)
    before = vault.dump()
    thread.start()
    sent.wait(20)
    for _ in range(200):
        if any(p.name.startswith(".coffer-") and p.stat().st_size for p in (vault.path / "objects").rglob("*")):
            break
        time.sleep(0.02)
    vault.process.kill()
    vault.stop()
    killed.set()
    thread.join(30)
    assert failed
    vault.start("--verbose")
    assert not [p for p in (vault.path / "objects").rglob(".coffer-*")]
    assert vault.dump() == before
    server.upload(big)
    server.commit(big)


# --- points ----------------------------------------------------------------------------------------------------

def test_point_round_trip(vault, server, other):
    point = server.backup(3)
    assert server.newest() == {"id": point.id.hex(), "counter": 1}
    listed = server.call("GET", "/v1/points").json()["points"]
    assert len(listed) == 1 and listed[0]["id"] == point.id.hex() and listed[0]["counter"] == 1
    assert listed[0]["summary"]["files"] == 3 and listed[0]["summary"]["selection"] == "policy"
    assert listed[0]["tags"] == ["on-demand"] and listed[0]["scheduled"] is None and not listed[0]["held"]
    assert listed[0]["size"] == len(point.bytes)
    assert server.call("GET", f"/v1/points/{point.id.hex()}").content == point.bytes
    with unchanged(vault):
        other.refused("GET", f"/v1/points/{point.id.hex()}", 404, 900508)
        other.refused("GET", f"/v1/points/{point.id.hex()}/map", 404, 900508)
        server.refused("GET", f"/v1/points/{'0' * 64}", 404, 900508)
        server.refused("GET", "/v1/points/abc", 404, 900508)


def test_maps_are_made_whole(vault, server):
    first = server.backup(2)
    numbers = [p["number"] for p in server.call("GET", "/v1/packs").json()["packs"]]
    base = first
    expected = {numbers[0]: 4, numbers[1]: 4}
    for chain in range(1, 9):
        server.open_session()
        server.put_record()
        pack = server.store(2)
        changes = {pack.number: 2}
        expected[pack.number] = 2
        if chain == 3:
            changes[numbers[0]] = None
            del expected[numbers[0]]
        point = server.point([pack], delta_map(base.id, chain, changes))
        server.put_point(point)
        base = point
    whole = server.call("GET", f"/v1/points/{base.id.hex()}/map").content
    assert whole == b"\x01\x00" + varint(len(expected)) + full_map(expected)[3:] if len(expected) < 128 else True
    # One more is too long a chain, and a wrong chain or a foreign base is refused.
    server.open_session()
    server.put_record()
    pack = server.store(1)
    with unchanged(vault):
        server.put_point(server.point([pack], delta_map(base.id, 9, {pack.number: 1})), status=400)
        server.put_point(server.point([pack], delta_map(first.id, 2, {pack.number: 1})), status=400)
        server.put_point(server.point([pack], delta_map(secrets.token_bytes(32), 1, {pack.number: 1})), status=400)
    server.put_point(server.point([pack], delta_map(first.id, 1, {pack.number: 1})))


def test_point_refused(vault, server, other):
    first = server.backup()
    server.open_session()
    server.put_record()
    pack = server.store(4)
    good = server.point([pack])
    path = f"/v1/points/{good.id.hex()}"
    headers = {"Coffer-Session": server.session.hex()}
    other.open_session()
    other.put_record()
    with unchanged(vault):
        server.refused("PUT", f"/v1/points/{secrets.token_hex(32)}", 400, 900511, "sum", data=good.bytes, headers=headers)
        server.refused("PUT", path, 400, 900507, data=good.bytes)
        server.refused("PUT", path, 400, 900507, data=good.bytes, headers={"Coffer-Session": "xx"})
        server.refused("PUT", path, 400, 900507, "session", data=good.bytes, headers={"Coffer-Session": secrets.token_hex(16)})
        server.refused("PUT", path + "?retain_until=soon", 400, 900507, data=good.bytes, headers=headers)
        other.refused("PUT", path, 403, 900506, "server", data=good.bytes,
                      headers={"Coffer-Session": other.session.hex()})
        # Counter and previous point.
        for counter, previous in ((1, bytes(32)), (3, None), (2, secrets.token_bytes(32))):
            wrong = server.point([pack], counter=counter, previous=previous)
            assert server.put_point(wrong, status=409).json()["error"]["code"] == 900502
        # A key record that is not the stored one; a truncated object; a damaged one.
        record, server.record = server.record, record_bytes(server.id, server.session)
        server.put_point(server.point([pack]), status=400)
        server.record = record
        for data in (good.bytes[:-1], good.bytes[:100], b"", good.bytes[:200] + bytes([good.bytes[200] ^ 0x40]) + good.bytes[201:]):
            server.refused("PUT", f"/v1/points/{hashlib.sha256(data).hexdigest()}", 400, 900201, data=data, headers=headers)
        # Missing segments: of a pack that is not there, above a pack's end, of another server, in the list only.
        absent = pack.number + 700
        error = server.put_point(server.point([pack], full_map({pack.number: 6, absent: 3})), status=409).json()["error"]
        assert error["code"] == 900503 and error["details"] == {
            "missing": [{"pack": pack.number, "segments": [4, 5]}, {"pack": absent, "segments": "all"}], "more": False}
        listed = Point(server.id, server.session, 2, first.id, server.record,
                       [(pack.number, pack.session), (absent, server.session)], full_map({pack.number: 4}))
        error = server.put_point(listed, status=409).json()["error"]
        assert error["details"]["missing"] == [{"pack": absent, "segments": "all"}]
        foreign = Point(server.id, server.session, 2, first.id, server.record, [(pack.number, secrets.token_bytes(16))],
                        full_map({pack.number: 4}))
        server.put_point(foreign, status=400)
        many = full_map({pack.number + 1000 + i: 1 for i in range(1500)})
        error = server.put_point(server.point([pack], many), status=409).json()["error"]
        assert len(error["details"]["missing"]) == 1000 and error["details"]["more"]
    server.put_point(good)
    with unchanged(vault):
        server.put_point(good)
    server.call("POST", f"/v1/sessions/{server.session.hex()}:close", json={})
    with unchanged(vault):
        server.put_point(good)  # committed: still the same answer, also without a session
        late = server.point([pack])
        assert server.put_point(late, status=410).json()["error"]["code"] == 900501


def test_pack_with_gaps(vault, server):
    server.open_session()
    server.put_record()
    pack = server.make_pack({0: b"a" * 100, 5: b"b" * 100, 9: b"c" * 100})
    server.upload(pack)
    server.commit(pack)

    def mask(*segments):
        bits = sum(1 << s for s in segments)
        data = bits.to_bytes((max(segments) + 8) // 8, "little")
        return bytes([1, 0, 1]) + varint(pack.number) + bytes([3]) + varint(len(data)) + data

    with unchanged(vault):
        error = server.put_point(server.point([pack], mask(0, 1, 5, 8, 9, 10)), status=409).json()["error"]
        assert error["details"]["missing"] == [{"pack": pack.number, "segments": [1, 8, 10]}]
    server.put_point(server.point([pack], mask(0, 5, 9)))


def test_retain_until(vault, server):
    server.open_session()
    server.put_record()
    pack = server.store()
    server.put_point(server.point([pack]), query="?retain_until=2031-05-06")
    assert server.call("GET", "/v1/points").json()["points"][0]["retain_until"] == "2031-05-06T00:00:00Z"


def test_points_race(vault, server):
    """Of several points with one counter exactly one is taken."""
    server.open_session()
    server.put_record()
    pack = server.store()
    points = [server.point([pack], counter=1, previous=bytes(32)) for _ in range(8)]
    results = []

    def put(point):
        import requests
        reply = requests.put(f"{vault.base}/v1/points/{point.id.hex()}", data=point.bytes, verify=vault.ca, timeout=60,
                             headers={"Authorization": server.auth, "Coffer-Session": server.session.hex()})
        results.append(reply.status_code)

    threads = [threading.Thread(target=put, args=(p,)) for p in points]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(results) == [200] + [409] * 7
    assert len(server.call("GET", "/v1/points").json()["points"]) == 1


# --- leases, jobs ----------------------------------------------------------------------------------------------

def test_leases(vault, server, other):
    point = server.backup()
    lease = secrets.token_hex(16)
    body = {"lease": lease, "kind": "verify", "points": [point.id.hex()]}
    assert server.call("POST", "/v1/leases", json=body).json() == {"lease_seconds": 300}
    server.call("POST", "/v1/leases", json=body)
    server.call("POST", f"/v1/leases/{lease}:renew", json={})
    with unchanged(vault):
        other.refused("POST", f"/v1/leases/{lease}:renew", 404, 900508, json={})
        other.call("DELETE", f"/v1/leases/{lease}")
        other.refused("POST", "/v1/leases", 404, 900508, json=body)
        server.refused("POST", "/v1/leases", 400, 900507, json={**body, "kind": "steal"})
        server.refused("POST", "/v1/leases", 400, 900507, json={**body, "points": ["zz"]})
        server.refused("POST", "/v1/leases", 404, 900508, json={**body, "points": [secrets.token_hex(32)]})
    for _ in range(63):
        server.call("POST", "/v1/leases", json={**body, "lease": secrets.token_hex(16)})
    with unchanged(vault):
        server.refused("POST", "/v1/leases", 429, 900513, json={**body, "lease": secrets.token_hex(16)})
    server.call("DELETE", f"/v1/leases/{lease}")
    server.call("DELETE", f"/v1/leases/{lease}")
    server.refused("POST", f"/v1/leases/{lease}:renew", 404, 900508, json={})


def test_jobs(vault, server, other):
    job = secrets.token_hex(16)
    body = {"type": "backup", "status": "running", "started": "2026-11-20T10:00:00Z", "finished": None, "bytes": 5,
            "bytes_sent": 4, "point_id": None, "warnings": 0, "error": None, "host": "h"}
    server.call("PUT", f"/v1/jobs/{job}", json=body)
    server.call("PUT", f"/v1/jobs/{job}", json={**body, "status": "failed", "finished": "2026-11-20T10:05:00Z",
                                                "error": {"code": 900101, "name": "FileError", "message": "no"}})
    jobs = server.call("GET", "/v1/jobs?limit=5").json()["jobs"]
    assert jobs[0]["id"] == job and jobs[0]["status"] == "failed" and jobs[0]["error"]["code"] == 900101
    assert other.call("GET", "/v1/jobs").json()["jobs"] == []
    with unchanged(vault):
        server.refused("PUT", f"/v1/jobs/{job}", 400, 900507, json={**body, "status": "great"})
        server.refused("PUT", f"/v1/jobs/{job}", 400, 900507, json={**body, "started": "yesterday"})
        server.refused("PUT", "/v1/jobs/abc", 404, 900508, json=body)
        server.refused("GET", "/v1/jobs?limit=0", 400, 900507)


def test_silent_jobs_are_interrupted(vault, server):
    job = secrets.token_hex(16)
    server.call("PUT", f"/v1/jobs/{job}", json={"type": "backup", "status": "running", "started": "2026-11-20T10:00:00Z"})
    database = sqlite3.connect(vault.path / "vault.db", timeout=30)
    database.execute("UPDATE jobs SET updated=? WHERE id=?", (int(time.time()) - 121, bytes.fromhex(job)))
    database.commit()
    database.close()
    assert server.call("GET", "/v1/jobs").json()["jobs"][0]["status"] == "interrupted"


# --- policies --------------------------------------------------------------------------------------------------

POLICY = {"sources": [{"path": "/etc", "exclude": []}], "time_zone": "Europe/Berlin",
          "schedule": {"kind": "daily", "times": ["09:00", "21:00"]}, "retention": {"days": 30}}


def test_policy(vault, server, other):
    none = {"number": 0, "policy": None, "changed": None, "changed_by": None,
            "minimum": {"days": 7, "weeks": 4, "months": 3, "years": 1, "on_demand_days": 30}}
    assert server.call("GET", "/v1/policy").json() == none
    assert server.call("PUT", "/v1/policy", json={"base": 0, "policy": POLICY}).json() == {"number": 1}
    newest = server.call("GET", "/v1/policy").json()
    assert newest["number"] == newest["policy"]["number"] == 1 and newest["changed_by"] == "agent"
    assert newest["policy"]["sources"] == POLICY["sources"] and newest["policy"]["retention"]["days"] == 30
    assert other.call("GET", "/v1/policy").json() == none
    before = vault.dump()
    # The same request again is answered as before, and so is a change that changes nothing.
    assert server.call("PUT", "/v1/policy", json={"base": 0, "policy": POLICY}).json() == {"number": 1}
    assert server.call("PUT", "/v1/policy", json={"base": 1, "policy": newest["policy"]}).json() == {"number": 1}
    assert vault.dump()["policies"] == before["policies"] and vault.dump()["objects"] == before["objects"]
    paused = {**POLICY, "protection": "paused"}
    assert server.call("PUT", "/v1/policy", json={"base": 1, "policy": paused}).json() == {"number": 2}


def test_policy_refused(vault, server):
    server.call("PUT", "/v1/policy", json={"base": 0, "policy": POLICY})
    server.call("PUT", "/v1/policy", json={"base": 1, "policy": {**POLICY, "drill": "weekly"}})
    with unchanged(vault):
        error = server.refused("PUT", "/v1/policy", 409, 900926, json={"base": 1, "policy": POLICY})
        assert error["details"]["number"] == 2 and error["details"]["policy"]["drill"] == "weekly"
        server.refused("PUT", "/v1/policy", 409, 900926, json={"base": 7, "policy": POLICY})
        error = server.refused("PUT", "/v1/policy", 400, 100001, json={"base": 2, "policy": {
            "sources": [{"path": "etc"}], "schedule": {"kind": "weekly", "times": ["09:00"], "days": ["mon"]},
            "retention": {"days": 3, "weeks": 9999, "weekly_on": "tue"}, "time_zone": "Mars/Base"}})
        for part in ("'etc' is relative", "Mars/Base", "9999 weeks", "needs a daily schedule", "does not run"):
            assert part in error["message"], error
        server.refused("PUT", "/v1/policy", 400, 100001, json={"base": 2, "policy": {**POLICY, "command": "rm -rf /"}})
        server.refused("PUT", "/v1/policy", 400, 100001, json={"base": 2, "policy": []})
        server.refused("PUT", "/v1/policy", 400, 100109, json={"base": 2, "policy": {**POLICY, "retention": {"days": 9000}}})
        server.refused("PUT", "/v1/policy", 400, 900507, json={"policy": POLICY})
        server.refused("PUT", "/v1/policy", 400, 900507, json={"base": 2})
        server.refused("PUT", "/v1/policy", 400, 900507, json={"base": -1, "policy": POLICY})


# --- the administrator's side ----------------------------------------------------------------------------------

def test_lists(vault, server):
    point = server.backup()
    servers = json.loads(vault.run("servers", vault.path, "--json").stdout)
    assert any(s["server_id"] == server.id.hex() and s["points"] == 1 and s["packs"] == 2 for s in servers)
    points = json.loads(vault.run("points", vault.path, "--json", "--server", server.name).stdout)
    assert [p["id"] for p in points] == [point.id.hex()] and points[0]["server"] == server.name
    assert isinstance(json.loads(vault.run("jobs", vault.path, "--json").stdout), list)
    assert server.name in vault.run("servers", vault.path).stdout
    assert point.id.hex() in vault.run("points", vault.path).stdout
    assert vault.run("points", vault.path, "--server", "nobody", check=False).returncode == 1


def test_one_service_only(vault):
    again = vault.run("serve", vault.path, "--listen", "127.0.0.1:0", check=False, timeout=30)
    assert again.returncode == 4 and "900512" in again.stderr
    assert vault.run("rebuild", vault.path, check=False).returncode == 4
    assert vault.run("init", vault.path, check=False).returncode != 0
    assert vault.run("servers", vault.folder, check=False).returncode == 2


def test_address_that_cannot_be_had(tmp_path):
    vault = Vault(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = vault.run("serve", vault.path, "--listen", f"127.0.0.1:{taken.getsockname()[1]}", check=False, timeout=30)
        assert done.returncode == 1 and "900514" in done.stderr and done.stdout == ""
    for listen in ("nonsense", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"):
        assert vault.run("serve", vault.path, "--listen", listen, check=False, timeout=30).returncode == 2
    done = vault.run("serve", vault.path, "--listen", "192.0.2.77:0", check=False, timeout=30)
    assert done.returncode == 1 and "900514" in done.stderr


def test_newer_database_is_refused(tmp_path):
    vault = Vault(tmp_path)
    database = sqlite3.connect(vault.path / "vault.db")
    database.execute("INSERT INTO schema_version VALUES(999)")
    database.commit()
    database.close()
    done = vault.run("servers", vault.path, check=False)
    assert done.returncode == 1 and "900602" in done.stderr


def test_graceful_end(vault, server):
    """SIGTERM lets a request that is at work finish."""
    server.open_session()
    pack = server.make_pack(4)
    url = server.announce(pack)["url"]
    started, statuses = threading.Event(), []

    def pieces():
        yield pack.bytes[:2000]
        started.set()
        time.sleep(1)
        yield pack.bytes[2000:]

    def put():
        import requests
        statuses.append(requests.put(url, data=pieces(), verify=vault.ca, timeout=60).status_code)

    thread = threading.Thread(target=put)
    thread.start()
    started.wait(20)
    time.sleep(0.3)
    process = vault.process
    process.send_signal(signal.SIGTERM)
    thread.join(30)
    assert statuses == [201] and process.wait(60) == 0
    vault.stop()
    vault.start("--verbose")
    server.commit(pack)


def test_damage_and_relocations(vault, other):
    """A damaged segment is told, counts as missing, and is healed by a record that the vault checks."""
    point = other.backup()
    number = int.from_bytes(other.session, "big") and other.call("GET", "/v1/packs").json()["packs"][-1]["number"]
    assert other.call("GET", "/v1/damage").json() == {"open": [], "healed": [], "objects": [], "more": False}
    assert other.call("GET", "/v1/relocations").json() == {"relocations": []}
    path, = (vault.path / "objects" / "servers" / other.id.hex() / "packs").glob(f"{number:016x}-*")
    whole = bytearray(path.read_bytes())
    whole[200] ^= 1
    path.write_bytes(whole)
    assert vault.run("scrub", vault.path, check=False).returncode == 3
    assert other.call("GET", "/v1/damage").json()["open"] == [{"pack": number, "segments": [0]}]
    other.open_session()
    other.put_record()
    pack = other.store(2)
    refused = other.put_point(other.point([pack], full_map({number: 4, pack.number: 2})), 409)
    assert refused.json()["error"]["details"]["missing"] == [{"pack": number, "segments": [0]}]

    def record(count=1, extra=None, healed=None, points=None):
        points = sorted(points or [point.id])
        parts = [other.record, varint(len(points)) + b"".join(points), full_map(extra or {pack.number: 2}),
                 full_map(healed or {number: 1}), secrets.token_bytes(80)]
        body = (b"CFRL" + struct.pack("<HH", 1, 0) + other.id + other.session + struct.pack("<Q", count) +
                struct.pack("<IIIIII", *map(len, parts), 0) + secrets.token_bytes(32) + b"".join(parts))
        body += xxh3(body)
        return hashlib.sha256(body).digest(), body

    def put(made, status):
        return other.call("PUT", f"/v1/relocations/{made[0].hex()}", status, data=made[1], headers={"Coffer-Session": other.session.hex()})
    put(record(2), 409)
    put(record(extra={pack.number + 7: 1}), 409)
    put(record(extra={number: 1}), 409)
    put(record(points=[bytes(32)]), 400)
    put((bytes(32), record()[1]), 400)
    good = record()
    put(good, 200)
    put(good, 200)
    assert [r["id"] for r in other.call("GET", "/v1/relocations").json()["relocations"]] == [good[0].hex()]
    assert other.call("GET", f"/v1/relocations/{good[0].hex()}").content == good[1]
    other.refused("GET", f"/v1/relocations/{bytes(32).hex()}", 404, 900508)
    damage = other.call("GET", "/v1/damage").json()
    assert damage["open"] == [] and damage["healed"] == [{"pack": number, "segments": [0]}]
    put(record(1), 409)
    whole[200] ^= 1
    path.write_bytes(whole)
    other.call("POST", f"/v1/sessions/{other.session.hex()}:close", json={})


def test_rebuild(vault, server, other):
    server.backup()
    server.backup()
    token, body, _ = unlock(vault, other, vault.register, "agent", name=other.name + " moved", instance=secrets.token_hex(16))
    vault.call("POST", f"/v1/servers/{other.id.hex()}:unlock", credentials_auth(vault.register), json=body)
    server.open_session()
    session = server.session
    job_tables = {"jobs", "sessions", "read_leases", "challenges", "vault", "sqlite_sequence"}
    vault.stop()
    before = vault.dump()

    def rows(table):
        database = sqlite3.connect(vault.path / "vault.db")
        database.row_factory = sqlite3.Row
        found = [dict(r) for r in database.execute(f"SELECT * FROM {table}")]
        database.close()
        return found

    old_points, old_vault = {p["id"]: p for p in rows("points")}, rows("vault")[0]
    old_tokens = {t["sha256"]: t for t in rows("tokens")}

    def plain_packs():
        """Since when a pack that no point refers to is one, nothing stored tells: it counts anew."""
        return sorted(repr({k: v for k, v in p.items() if k not in ("referenced", "after_point")}) for p in rows("packs"))

    old_packs = plain_packs()
    # Uploads whose commit was refused: a rebuild cannot tell them from packs that were damaged since, and keeps them, marked.
    known = {(p["server"].hex(), f"{p['number']:016x}-{p['session'].hex()}") for p in rows("packs")}
    for path in (vault.path / "objects" / "servers").glob("*/packs/*"):
        if (path.parent.parent.name, path.name) not in known:
            path.unlink()
    (vault.path / "vault.db").unlink()
    junk = vault.path / "objects" / "servers" / server.id.hex() / "packs" / ("0" * 16 + "-junk")
    junk.write_bytes(b"junk")
    damaged = vault.path / "objects" / "servers" / server.id.hex() / "packs" / f"{99999:016x}-{session.hex()}"
    damaged.write_bytes(b"CFPK nothing")
    # Points that were stored just before a crash and never acknowledged: another one has their place since.
    orphans = []
    for counter in (1, 2):
        orphan = Point(server.id, session, counter, bytes(32) if counter == 1 else secrets.token_bytes(32),
                       record_bytes(server.id, session), [], full_map({}))
        orphans.append(vault.path / "objects" / "servers" / server.id.hex() / "points" / f"{counter:016x}-{orphan.id.hex()}")
        orphans[-1].write_bytes(orphan.bytes)
        os.utime(orphans[-1], (time.time() - 1000, time.time() - 1000))
    done = vault.run("rebuild", vault.path, "--json", check=False)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    bad = [junk, damaged, *orphans]
    assert {p["object"].rsplit("/", 1)[1] for p in report["problems"]} >= {p.name for p in bad}
    for path in bad:
        path.unlink()
    after = vault.dump()
    assert plain_packs() == old_packs
    for table in ("credentials", "pack_tails", "slots", "records", "number_blocks", "journal_seq", "schema_version"):
        assert before[table] == after[table], table
    for new, old in ((rows("points"), old_points), ):
        assert {p["id"] for p in new} == set(old)
        for point in new:
            assert abs(point.pop("received") - old[point["id"]].pop("received")) <= 5
            assert point == old[point["id"]]
    for token in rows("tokens"):
        was = old_tokens[token["sha256"]]
        assert abs(token["issued"] - was["issued"]) <= 2 and bool(token["revoked"]) == bool(was["revoked"])
        if was["expires"] > time.time() or was["expires"] == 0:
            assert token["expires"] == was["expires"]
    fresh = rows("vault")[0]
    assert fresh["id"] == old_vault["id"] and fresh["epoch"] != old_vault["epoch"] and fresh["name"] == old_vault["name"]
    row = next(s for s in rows("servers") if s["id"] == server.id)
    assert row["next_number"] == 99999 + 1 and row["newest_counter"] == 2 and row["auth_key"] == bytes(server.key.verify_key)
    row = next(s for s in rows("servers") if s["id"] == other.id)
    assert row["name"] == other.name + " moved" and row["instance"] == bytes.fromhex(body["instance"])
    assert job_tables
    vault.start("--verbose")
    server.refused("POST", f"/v1/sessions/{session.hex()}:heartbeat", 410, 900501, json={})
    other.refused("GET", "/v1/self", 401, 900505, "revoked")
    opened = server.open_session()
    assert opened["epoch"] != old_vault["epoch"].hex() and opened["numbers"]["first"] > 99999
    server.backup()


def test_new_address(vault, server):
    """A new host name gets into the running service's certificate, and nobody is cut off."""
    host, port = vault.base[8:].rsplit(":", 1)
    assert vault.run("address", vault.path, "--url", "https://moved.example.org:9443").stdout == \
        "https://moved.example.org:9443\n"
    context = ssl.create_default_context(cafile=vault.ca)

    def names():
        with socket.create_connection((host, int(port))) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                return [value for _, value in tls.getpeercert()["subjectAltName"]]

    for _ in range(300):
        if "moved.example.org" in names():
            break
        time.sleep(0.1)
        server.call("GET", "/v1/self")
    else:
        pytest.fail("the certificate did not change")
    assert vault.credentials("restore")["url"] == "https://moved.example.org:9443"
    assert vault.run("address", vault.path, "--url", "http://x", check=False).returncode == 2
    server.backup()


# --- the description --------------------------------------------------------------------------------------------

def test_openapi_lists_exactly_the_routes():
    description = yaml.safe_load((REPO / "docs" / "openapi.yaml").read_text())
    described = {(method.upper(), path) for path, item in description["paths"].items() for method in item
                 if method in ("get", "put", "post", "patch", "delete")}
    lines = subprocess.run([vault_binary(), "routes"], capture_output=True, text=True, check=True).stdout.splitlines()
    routes = {tuple(line.split()[:2]) for line in lines}
    assert described == routes
    schemes = {"none": [], "url": [], "token": ["token"], "agent": ["agentToken"], "credentials": ["credentials"],
               "register": ["credentials"]}
    for line in lines:
        method, path, auth = line.split()
        operation = description["paths"][path][method.lower()]
        assert [name for entry in operation.get("security", []) for name in entry] == schemes[auth], line
        assert operation["operationId"] and operation["responses"], line


def test_every_route_was_called():
    """Runs last: the tests above have been everywhere that the description names."""
    description = yaml.safe_load((REPO / "docs" / "openapi.yaml").read_text())
    missing = []
    for path, item in description["paths"].items():
        pattern = re.compile("^" + re.sub(r"\\\{\w+\\\}", "[0-9a-zA-Z]+", re.escape(path)) + "$")
        for method in item:
            if method in ("get", "put", "post", "patch", "delete") and not any(
                    m == method.upper() and pattern.match(p) for m, p in CALLED):
                missing.append(f"{method} {path}")
    assert not missing
