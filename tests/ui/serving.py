"""A server of the page as a user starts it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time


class Served:
    """A running `sep ui`."""

    def __init__(self, folder, *words, python=sys.executable, **variables):
        self.folder = folder
        self.process = subprocess.Popen(
            [python, "-P", "-m", "sep_launcher", "ui", "--no-browser", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, **variables},
        )
        self.address = re.search(r"http\S+", self.process.stdout.readline())[0]
        self.process.stdout.readline()
        self.port = int(re.search(r":([0-9]+)/", self.address)[1])
        self.token = self.address.partition("token=")[2]
        self.base = f"http://127.0.0.1:{self.port}"

    def raw(self, method, path, body=None, headers=None):
        """Ask with these headers alone; returns status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    @property
    def signed(self):
        return {"authorization": f"Bearer {self.token}", "origin": self.base, "x-sep": "1"}

    def ask(self, method, path, about=None, *, check=None, headers=None):
        """Ask as the page does; returns the document."""
        body = json.dumps(about) if isinstance(about, dict) else about
        status, _, data = self.raw(method, path, body, {**self.signed, **(headers or {})})
        assert check == status if check else status < 400, (status, data)
        return json.loads(data) if data else None

    def state(self):
        return self.ask("GET", "/api/state")

    def task(self, name):
        return next(each for each in self.state()["tasks"] if each["id"] == name)

    def run(self, *paths, **options):
        """Split songs; returns the task's id."""
        return self.ask("POST", "/api/jobs", {"paths": [*map(str, paths)], **options})["id"]

    def wait(self, name, *states, within=60):
        """Wait until a task is in one of these states, and return it."""
        end = time.monotonic() + within
        while (task := self.task(name))["state"] not in states:
            assert time.monotonic() < end, task
            time.sleep(0.05)
        return task

    def interrupt(self):
        """Press Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def till(page, true, within=30):
    """Wait until an expression is true; the page's policy forbids Playwright's own way."""
    end = time.monotonic() + within
    while not page.evaluate(true):
        assert time.monotonic() < end, true
        page.wait_for_timeout(50)


def until(true, within=30):
    """Wait until something is true, and return it."""
    end = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found
