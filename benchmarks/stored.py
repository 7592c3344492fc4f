"""How long a library in an object store takes to be looked over: `python benchmarks/stored.py`.

The store is moto on this machine, which answers in this process: a real one is further away, and
answers many at a time. So the requests are counted, too.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import uuid

import boto3
from moto.server import ThreadedMotoServer


def main() -> None:
    """Print seconds and requests of a dry run, before anything is done and when all is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=1000)
    count = parser.parse_args().tracks
    requests = _Counter()
    log = logging.getLogger("werkzeug")
    log.handlers, log.propagate = [requests], False
    log.setLevel(logging.INFO)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    for number in range(count):
        client.put_object(Bucket=bucket, Key=f"in/{number:05}.wav", Body=b"x")
    _tell("nothing done", bucket, requests)
    report = json.dumps({"sep": "0", "mix": {"size": 1}, "stems": {}}).encode()
    for number in range(count):
        client.put_object(Bucket=bucket, Key=f"out/{number:05}/sep.json", Body=report)
    _tell("a report for each", bucket, requests, "--resume")
    server.stop()


class _Counter(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one more."""
        del record
        self.count += 1


def _tell(what: str, bucket: str, requests: _Counter, *more: str) -> None:
    command = [sys.executable, "-P", "-m", "sep_launcher", "run", f"s3://{bucket}/in/"]
    before, begun = requests.count, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "-o", f"s3://{bucket}/out", "--dry-run", "--quiet", *more],
            check=False,
            cwd=folder,
        )
    seconds = time.perf_counter() - begun
    asked = requests.count - before
    print(f"{what}: {seconds:.1f} s, {asked} requests, exit code {done.returncode}")


if __name__ == "__main__":
    main()
