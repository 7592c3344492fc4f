"""A real S3 server on this machine, and a proxy before it that makes faults."""

import http.client
import io
import json
import logging
import os
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sep_launcher.machine import storage

SECRET = "s3cr3t-that-nobody-may-see"  # noqa: S105 (of nothing)
KEY_ID = "AKIDNOTFORYOU"


@pytest.fixture(scope="session")
def server():
    """The address of the server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def proxy(server):
    """A proxy before the server. `fault(method, path, body)` decides: see `Proxy`."""
    made = Proxy(server)
    yield made
    made.close()


class Proxy:
    """Hands requests on.

    A fault is None, ("status", code, S3's word[, a message]), ("cut", bytes of the answer that
    still come), ("wait", an Event before it is handed on), or ("deaf",): it is handed on and no
    answer comes.
    """

    def __init__(self, server):
        self.fault = lambda method, path, body: None
        self.seen = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.seen.append((self.command, self.path))
                fault = proxy.fault(self.command, self.path, body) or ("none",)
                if fault[0] == "status":
                    told = f"<Code>{fault[2]}</Code><Message>{(*fault, 'no')[3]}</Message>"
                    text = f"<Error>{told}</Error>".encode()
                    self.answer(fault[1], {"Content-Type": "application/xml"}, text)
                    return
                if fault[0] == "wait":
                    fault[1].wait(60)
                there = http.client.HTTPConnection(server, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
                there.request(self.command, self.path, body, headers)
                answer = there.getresponse()
                found = answer.read()
                headers = {k: v for k, v in answer.headers.items() if k.lower() in KEPT}
                there.close()
                if fault[0] == "deaf":
                    self.close_connection = True
                    return
                most = fault[1] if fault[0] == "cut" else None
                self.answer(answer.status, headers, found, most, answer.headers)

            def answer(self, status, headers, body, most=None, original=None):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                length = len(body)
                if self.command == "HEAD" and original is not None:
                    length = original.get("Content-Length", 0)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body if most is None else body[:most])
                if most is not None:
                    self.close_connection = True

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that was killed

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


KEPT = {"content-type", "etag", "last-modified", "content-range", "accept-ranges"}


class Bucket:
    """A bucket, as tests look into it."""

    def __init__(self, client, name):
        self._client = client
        self.name = name
        self.url = f"s3://{name}"

    def put(self, key, body):
        self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key):
        return self._client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def json(self, key):
        return json.loads(self.get(key))

    def keys(self, prefix=""):
        found = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", ())]

    def delete(self, key):
        self._client.delete_object(Bucket=self.name, Key=key)


class Shelf(Bucket):
    """A place in this process's memory, for what is the same in every store, and faster."""

    def __init__(self, name):
        self.url = f"memory://{name}"

    def put(self, key, body):
        storage.put(f"{self.url}/{key}", body, threading.Event())

    def get(self, key):
        return storage.read(f"{self.url}/{key}", 1 << 30)

    def keys(self, prefix=""):
        found = [each.url.removeprefix(f"{self.url}/") for each in storage.below(self.url)]
        return [each for each in found if each.startswith(prefix)]

    def delete(self, key):
        storage.remove(f"{self.url}/{key}", threading.Event())


@pytest.fixture
def shelf():
    """An empty place in memory."""
    return Shelf(f"b-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def bucket(server, monkeypatch):
    """An empty bucket, and an environment that reaches it."""
    import boto3

    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server}")
    client = boto3.client("s3")
    name = f"b-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    storage._system.cache_clear()
    yield Bucket(client, name)
    storage._system.cache_clear()
    client.close()


@pytest.fixture
def faulty(bucket, proxy, monkeypatch):
    """The bucket behind the proxy; no time is lost between two tries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.address}")
    monkeypatch.setattr(storage, "FIRST_WAIT", 0.001)
    return bucket


@pytest.fixture
def wav():
    """Bytes of a wav file with noise: (seconds, seed) -> bytes."""
    import numpy as np
    import soundfile

    def make(seconds=0.5, seed=0):
        file = io.BytesIO()
        noise = np.random.default_rng(seed).standard_normal((int(44100 * seconds), 2)) * 0.1
        soundfile.write(file, np.clip(noise, -0.5, 0.5), 44100, "PCM_16", format="WAV")
        return file.getvalue()

    return make
