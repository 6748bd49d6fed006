"""A vault under test, a bare HTTP client for it, and encoders of what it can see (docs/format.md).

What is sealed is random here: the vault cannot tell the difference, and must not need to."""

import base64
import hashlib
import json
import os
import secrets
import signal
import struct
import subprocess
import time
from pathlib import Path

import nacl.signing
import requests
import xxhash

REPO = Path(__file__).resolve().parents[2]


def vault_binary() -> str:
    build = os.environ.get("COFFER_BUILD", str(REPO / "build"))
    for name in ("COFFER_VAULT", ):
        if os.environ.get(name):
            return os.environ[name]
    return str(Path(build) / "src" / "cli" / "coffer-vault")


def xxh3(data: bytes) -> bytes:
    return xxhash.xxh3_128(data).digest()


def varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def slot_bytes(server: bytes, number: int, public_key: bytes, salt: bytes = None) -> bytes:
    head = b"CFKS" + struct.pack("<HBB", 1, 1, 0) + server + struct.pack("<IIII", number, 262144, 3, 1)
    head += (salt or secrets.token_bytes(16)) + public_key + secrets.token_bytes(32) + secrets.token_bytes(12)
    return head + secrets.token_bytes(128 + 16)


def record_bytes(server: bytes, session: bytes) -> bytes:
    return b"CFKR" + struct.pack("<HH", 1, 0) + server + session + secrets.token_bytes(32 + 12 + 32 + 16)


class Pack:
    def __init__(self, server: bytes, session: bytes, number: int, segments, kind: int = 0):
        """segments: {segment number: stored bytes} or a count; the directory is added."""
        if isinstance(segments, int):
            segments = {i: secrets.token_bytes(1000 + i) for i in range(segments)}
        segments = dict(segments)
        segments[0xFFFF] = secrets.token_bytes(200)
        self.number, self.session = number, session
        self.header = (b"CFPK" + struct.pack("<HBB", 1, kind, 0) + server + session + struct.pack("<Q", number) +
                       secrets.token_bytes(64))
        body, table = b"", b""
        for segment in sorted(segments):
            data = segments[segment]
            offset = len(self.header) + len(body)
            table += struct.pack("<HHIQ", segment, 0, len(data), offset) + xxh3(data)
            body += data
        start = struct.pack("<QII", len(self.header) + len(body), len(segments), 0)
        self.tail = table + start + xxh3(self.header + table + start) + b"CFPKEND1"
        self.bytes = self.header + body + self.tail

    def announce(self) -> dict:
        return {"session": self.session.hex(), "size": len(self.bytes), "xxh3": xxh3(self.bytes).hex()}


def full_map(packs: dict) -> bytes:
    """packs: {number: number of segments, all live}."""
    out, last = bytes([1, 0]) + varint(len(packs)), 0
    for number in sorted(packs):
        out += varint(number - last) + bytes([1]) + varint(packs[number])
        last = number
    return out


def delta_map(base: bytes, chain: int, packs: dict) -> bytes:
    out, last = bytes([1, 1]) + base + bytes([chain]) + varint(len(packs)), 0
    for number in sorted(packs):
        segments = packs[number]
        out += varint(number - last) + (bytes([0]) if segments is None else bytes([1]) + varint(segments))
        last = number
    return out


def summary_bytes(files: int = 3) -> bytes:
    now = int(time.time())
    values = [now - 10, now, files, 1, 0, 12345, files, 0, 0, 12345, 6789, 0]
    return bytes([1, 0, 0, 0]) + b"".join(varint(v) for v in values) + bytes(range(16)) + varint(0)


class Point:
    def __init__(self, server, session, counter, previous, record, packs, live_map, summary=None):
        pack_list = varint(len(packs)) + b"".join(varint(n) + s for n, s in sorted(packs))
        summary = summary or summary_bytes()
        root = secrets.token_bytes(300)
        head = (b"CFRP" + struct.pack("<HH", 1, 0) + server + session + struct.pack("<Q", counter) + previous +
                struct.pack("<IIIIII", len(record), len(summary), len(pack_list), len(live_map), len(root), 0) +
                secrets.token_bytes(32))
        body = head + record + summary + pack_list + live_map + root
        self.bytes = body + xxh3(body)
        self.id = hashlib.sha256(self.bytes).digest()
        self.counter = counter


class Vault:
    """init, serve, kill; and requests against it."""

    def __init__(self, folder: Path, **env):
        self.folder, self.path = Path(folder), Path(folder) / "vault"
        self.process, self.base, self.env = None, None, env
        self.run("init", self.path, "--name", "test vault", "--url", "https://localhost:8443")
        self.ca = str(self.path / "tls" / "ca.crt")
        self.http = requests.Session()
        self.http.verify = self.ca
        self.http.trust_env = False

    def run(self, *args, check=True, **kwargs):
        done = subprocess.run([vault_binary(), *map(str, args)], capture_output=True, text=True,
                              env={**os.environ, **self.env}, **kwargs)
        if check and done.returncode != 0:
            raise AssertionError(f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *args):
        self.log = open(self.folder / "serve.log", "a")
        self.process = subprocess.Popen([vault_binary(), "serve", str(self.path), "--listen", "127.0.0.1:0", *args],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, **self.env})
        line = self.process.stdout.readline().strip()
        assert line, (self.folder / "serve.log").read_text()
        self.base = "https://" + line
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        if self.process:
            self.process.stdout.close()
            self.log.close()
        self.process = None
        self.http.close()

    def credentials(self, purpose="register") -> dict:
        name = self.folder / f"{purpose}-{secrets.token_hex(4)}.coffer"
        self.run("credentials", self.path, "--output", name, "--purpose", purpose)
        return json.loads(name.read_text())

    def call(self, method, path, auth=None, status=200, **kwargs):
        headers = {"Coffer-Agent": "0.1.0", "Coffer-Protocol": "1", **kwargs.pop("headers", {})}
        if auth:
            headers["Authorization"] = auth
        url = path if path.startswith("https://") else self.base + path
        reply = self.http.request(method, url, headers=headers, timeout=60, **kwargs)
        assert status is None or reply.status_code == status, f"{method} {path}: {reply.status_code} {reply.text}"
        for name in ("Coffer-Version", "Coffer-Protocol", "Coffer-Agent-Oldest", "Date", "Coffer-Request"):
            assert name in reply.headers, f"{method} {path}: no {name}"
        if reply.status_code >= 400:
            error = reply.json()["error"]
            assert error["code"] and error["name"] and error["message"] and error["actions"], error
        return reply

    def refused(self, method, path, auth=None, status=None, code=None, reason=None, **kwargs):
        reply = self.call(method, path, auth, status, **kwargs)
        assert reply.status_code >= 400, reply.text
        error = reply.json()["error"]
        if code:
            assert error["code"] == code, error
        if reason:
            assert error.get("reason") == reason, error
        return error

    def dump(self) -> dict:
        """Every table, for "nothing changed"."""
        import sqlite3
        database = sqlite3.connect(self.path / "vault.db")
        tables = [r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")]
        state = {t: sorted(map(repr, database.execute(f"SELECT * FROM {t}"))) for t in tables}
        # When the service looked at its clock and at a server, and when it looks again, is its own business.
        state["settings"] = [row for row in state["settings"] if "'state." not in row]
        columns = [c[1] for c in database.execute("PRAGMA table_info(servers)") if c[1] not in ("retention_due", "compared")]
        state["servers"] = sorted(map(repr, database.execute(f"SELECT {','.join(columns)} FROM servers")))
        database.close()
        state["objects"] = sorted(str(p.relative_to(self.path)) for p in (self.path / "objects").rglob("*") if p.is_file())
        return state


def credentials_auth(credentials: dict) -> str:
    return "Coffer-Credentials " + credentials["secret"]


class Server:
    """A registered agent, as far as the vault can tell."""

    def __init__(self, vault: Vault, credentials: dict, name="web1", new=False):
        self.vault, self.name = vault, name
        self.id, self.instance, self.token = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(32)
        self.key = nacl.signing.SigningKey.generate()
        self.slot = slot_bytes(self.id, 1, bytes(self.key.verify_key))
        self.auth = "Bearer " + self.token.hex()
        self.credentials = credentials
        self.new = new

    def registration(self) -> dict:
        return {"server_id": self.id.hex(), "name": self.name, "auth_key": bytes(self.key.verify_key).hex(),
                "slot": base64.b64encode(self.slot).decode(), "instance": self.instance.hex(),
                "token_sha256": hashlib.sha256(self.token).hexdigest(), "new": self.new}

    def register(self, status=200):
        return self.vault.call("POST", "/v1/servers", credentials_auth(self.credentials), status,
                               json=self.registration())

    def call(self, method, path, status=200, **kwargs):
        return self.vault.call(method, path, self.auth, status, **kwargs)

    def refused(self, method, path, status=None, code=None, reason=None, **kwargs):
        return self.vault.refused(method, path, self.auth, status, code, reason, **kwargs)

    def open_session(self, session=None, status=200):
        self.session = session or secrets.token_bytes(16)
        self.opened = self.call("POST", "/v1/sessions", status, json={
            "session": self.session.hex(), "epoch": None, "generation": 0, "instance": self.instance.hex(),
            "job": secrets.token_hex(16)}).json()
        if status == 200:
            self.next = self.opened["numbers"]["first"]
        return self.opened

    def put_record(self):
        self.record = record_bytes(self.id, self.session)
        self.call("PUT", f"/v1/records/{self.session.hex()}", data=self.record)

    def make_pack(self, segments=4, kind=0) -> Pack:
        pack = Pack(self.id, self.session, self.next, segments, kind)
        self.next += 1
        return pack

    def announce(self, pack: Pack, status=200):
        return self.call("POST", f"/v1/packs/{pack.number}:upload", status, json=pack.announce()).json()

    def upload(self, pack: Pack):
        answer = self.announce(pack)
        if not answer.get("committed"):
            self.vault.call("PUT", answer["url"], status=201, data=pack.bytes)

    def commit(self, pack: Pack, status=200):
        return self.call("POST", f"/v1/packs/{pack.number}:commit", status,
                         json={**pack.announce(), "tail": base64.b64encode(pack.tail).decode()})

    def store(self, segments=4, kind=0) -> Pack:
        pack = self.make_pack(segments, kind)
        self.upload(pack)
        self.commit(pack)
        return pack

    def newest(self):
        return self.call("GET", "/v1/self").json()["newest"]

    def point(self, packs, live_map=None, counter=None, previous=None) -> Point:
        newest = self.newest()
        counter = counter or (newest["counter"] + 1 if newest else 1)
        if previous is None:
            previous = bytes.fromhex(newest["id"]) if newest else bytes(32)
        live_map = live_map or full_map({p.number: (len(p.tail) - 40) // 32 - 1 for p in packs})
        return Point(self.id, self.session, counter, previous, self.record, [(p.number, p.session) for p in packs],
                     live_map)

    def put_point(self, point: Point, status=200, query="", **kwargs):
        headers = {"Coffer-Session": self.session.hex(), **kwargs.pop("headers", {})}
        return self.call("PUT", f"/v1/points/{point.id.hex()}{query}", status, data=point.bytes, headers=headers, **kwargs)

    def backup(self, packs=2) -> Point:
        """A whole backup as the vault sees one."""
        self.open_session()
        self.put_record()
        stored = [self.store() for _ in range(packs)]
        point = self.point(stored)
        self.put_point(point)
        self.call("POST", f"/v1/sessions/{self.session.hex()}:close", json={})
        return point

    def sign(self, challenge: str, token: bytes) -> str:
        message = b"coffer unlock" + self.id + bytes.fromhex(challenge) + hashlib.sha256(token).digest()
        return base64.b64encode(self.key.sign(message).signature).decode()
