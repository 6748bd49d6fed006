"""What may stand between a server and its vault: a relay that changes what passes, a log-in page, proxies."""
import base64
import datetime
import email.utils
import hashlib
import http.client
import http.server
import ipaddress
import json
import select
import socket
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(path, start=-1, end=30):
    """A self-signed certificate for 127.0.0.1, valid from and until so many days from now; its PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, '127.0.0.1')])
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now + datetime.timedelta(days=start)).not_valid_after(now + datetime.timedelta(days=end))
                   .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), False)
                   .add_extension(x509.BasicConstraints(True, None), True)
                   .sign(key, hashes.SHA256()))
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    with open(path, 'w') as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()).decode() + pem)
    return pem


def rewrite(path, to, **changes):
    """A copy of a credentials file with other members and a checksum that fits."""
    with open(path) as f:
        content = json.load(f)
    content.update(changes)
    content.pop('checksum')
    dump = json.dumps(content, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    content['checksum'] = hashlib.sha256(dump.encode()).hexdigest()
    with open(to, 'w') as f:
        json.dump(content, f)
    return to


class Relay:
    """An HTTPS server with a certificate of its own that hands everything on to the vault.

    change(request, reply) is called for each reply; reply is a dict of status, headers (list of pairs), body, and may
    be changed. It may raise Cut: then the connection ends without an answer."""

    class Cut(Exception):
        pass

    def __init__(self, stage, vault, change=None, start=-1, end=30):
        self.vault, self.change, self.requests = vault, change or (lambda request, reply: None), []
        path = stage.path(f'relay-{id(self)}.pem')
        self.ca = make_certificate(path, start, end)
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self):
                size = int(self.headers.get('Content-Length') or 0)
                body = self.rfile.read(size) if size else None
                reply = relay.forward(self.command, self.path, dict(self.headers), body)
                relay.requests.append((self.command, self.path))
                try:
                    relay.change((self.command, self.path), reply)
                except Relay.Cut:
                    self.close_connection = True
                    return
                self.send_response_only(reply['status'])
                for name, value in reply['headers']:
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(reply['body'])))
                self.end_headers()
                self.wfile.write(reply['body'])

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(('127.0.0.1', 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f'https://127.0.0.1:{self.port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        stage.exits.callback(self.close)

    def forward(self, method, path, headers, body):
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection('127.0.0.1', self.vault.port, context=context, timeout=60)
        headers = {k: v for k, v in headers.items() if k.lower() not in ('host', 'connection', 'content-length')}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        body = answer.read().replace(self.vault.url.encode(), self.url.encode())    # uploads and downloads come here too
        reply = {'status': answer.status, 'body': body,
                 'headers': [(k, v) for k, v in answer.getheaders()
                             if k.lower() not in ('content-length', 'connection', 'transfer-encoding')]}
        connection.close()
        return reply

    def credentials(self, path, to):
        """A credentials file that leads here instead of to the vault."""
        return rewrite(path, to, url=self.url, ca=self.ca)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def set_header(reply, name, value):
    reply['headers'] = [(k, v) for k, v in reply['headers'] if k.lower() != name.lower()]
    if value is not None:
        reply['headers'].append((name, value))


def shift_date(seconds):
    """The vault's clock is so many seconds ahead of ours."""
    def change(_, reply):
        set_header(reply, 'Date', email.utils.formatdate(time.time() + seconds, usegmt=True))
    return change


class Proxy:
    """An HTTP proxy (CONNECT only). user: 'name:password' that it wants; counts what it let through."""

    def __init__(self, stage, user=None):
        self.user, self.passed = user, 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.url = f'http://127.0.0.1:{self.port}'
        threading.Thread(target=self.accept, daemon=True).start()
        stage.exits.callback(self.close)

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            file = connection.makefile('rb')
            while True:
                head = []
                while True:
                    line = file.readline().decode('latin-1').strip()
                    if not line:
                        break
                    head.append(line)
                if not head:
                    return
                wanted = self.user and 'Basic ' + base64.b64encode(self.user.encode()).decode()
                if wanted and not any(h.lower().startswith('proxy-authorization:') and h.endswith(wanted) for h in head):
                    connection.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="office"\r\n'
                                       b'Content-Length: 0\r\n\r\n')
                    continue
                host, _, port = head[0].split()[1].rpartition(':')
                with socket.create_connection((host, int(port))) as far:
                    connection.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
                    self.passed += 1
                    self.copy(connection, far)
                return

    @staticmethod
    def copy(a, b):
        while True:
            ready, _, _ = select.select([a, b], [], [])
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                (b if one is a else a).sendall(data)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
