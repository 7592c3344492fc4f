"""Requests to a store, and what comes of faults on the way; what addresses name."""

import logging
import os
import sys
import threading

import pytest

from sep_launcher.machine import storage
from sep_launcher.planning import files
from sep_protocol.errors import ExitCode, NotReadyError, PathError, UsageError

GO_ON = threading.Event()


def fetched(url, folder):
    path = folder / "file"
    path.unlink(missing_ok=True)
    storage.fetch(storage.stat(url), path, GO_ON)
    return path.read_bytes()


@pytest.mark.parametrize("scheme", ["s3", "file", "memory"])
def test_every_kind_of_store_does_the_same(scheme, bucket, tmp_path):
    base = {
        "s3": f"{bucket.url}/deep",
        "file": f"file://{tmp_path}/store",
        "memory": f"memory://{bucket.name}",
    }[scheme]
    (tmp_path / "store").mkdir()
    (tmp_path / "here").write_bytes(b"x" * 1000)
    assert storage.stat(f"{base}/a") is None
    sent = storage.send(tmp_path / "here", f"{base}/a", GO_ON)
    assert (sent.url, sent.size) == (f"{base}/a", 1000)
    assert fetched(f"{base}/a", tmp_path) == b"x" * 1000
    assert storage.create(f"{base}/b", b"1", GO_ON)
    assert not storage.create(f"{base}/b", b"2", GO_ON)
    assert storage.create(f"{base}/b", b"1", GO_ON)  # of these bytes: ours
    assert storage.read(f"{base}/b", 10) == b"1"
    assert storage.read(f"{base}/a", 10) is None
    assert [each.url for each in storage.inside(base)] == [f"{base}/a", f"{base}/b"]
    assert [each.url for each in storage.below(base)] == [f"{base}/a", f"{base}/b"]
    assert storage.inside(f"{base}/none") == []
    storage.remove(f"{base}/a", GO_ON)
    storage.remove(f"{base}/a", GO_ON)
    assert storage.stat(f"{base}/a") is None


def test_what_is_refused_for_a_while_is_asked_for_again(faulty, proxy, tmp_path):
    faulty.put("a", b"x" * 1000)
    faults = iter([("status", 503, "SlowDown"), ("status", 500, "InternalError")] * 2)
    proxy.fault = lambda method, path, body: next(faults, None)
    assert fetched(f"{faulty.url}/a", tmp_path) == b"x" * 1000


def test_what_is_cut_off_is_asked_for_again(faulty, proxy, tmp_path, monkeypatch):
    """From the block where it ended: what was here is not fetched twice."""
    monkeypatch.setattr(storage, "BLOCK", 400)
    faulty.put("a", bytes(range(200)) * 5)
    cuts = iter([("cut", 100), ("cut", 0), None, ("cut", 399)])
    proxy.fault = lambda method, path, body: next(cuts, None) if method == "GET" else None
    assert fetched(f"{faulty.url}/a", tmp_path) == bytes(range(200)) * 5
    assert sum(method == "GET" for method, _ in proxy.seen) == 6


def test_a_network_that_stays_away_is_told_as_one(faulty, proxy, tmp_path):
    faulty.put("a", b"x")
    entry = storage.stat(f"{faulty.url}/a")
    proxy.fault = lambda *_: ("status", 503, "SlowDown")
    with pytest.raises(storage.StorageError, match=r"a could not be fetched: the store says 503"):
        storage.fetch(entry, tmp_path / "a", GO_ON)
    assert len(proxy.seen) == 1 + storage.ATTEMPTS
    proxy.fault = lambda *_: ("deaf",)
    with pytest.raises(storage.StorageError, match=r"could not be listed"):
        storage.below(faulty.url)


def test_what_is_stored_twice_by_a_lost_answer_is_ours(faulty, proxy):
    answers = iter([("deaf",)])
    proxy.fault = lambda method, path, body: next(answers, None) if method == "PUT" else None
    assert storage.create(f"{faulty.url}/report", b"mine", GO_ON)
    assert [method for method, _ in proxy.seen if method == "PUT"] == ["PUT", "PUT"]


def test_a_refusal_is_final(faulty, proxy):
    proxy.fault = lambda *_: ("status", 403, "AccessDenied")
    with pytest.raises(storage.StorageError, match=r"could not be listed: it is refused") as found:
        storage.below(faulty.url)
    assert "environment" in found.value.hint
    assert found.value.code == ExitCode.PATH
    assert len(proxy.seen) == 1


def test_what_is_secret_is_cut_out_of_what_a_store_says(faulty, proxy, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-this-session")
    message = f"key {os.environ['AWS_ACCESS_KEY_ID']} with token-of-this-session"
    proxy.fault = lambda *_: ("status", 403, "AccessDenied", message)
    with pytest.raises(storage.StorageError, match=r"refused") as found:
        storage.below(faulty.url)
    assert "key *** with ***" in found.value.message


def test_a_stop_is_heard_between_two_tries(faulty, proxy, monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "FIRST_WAIT", 60)
    faulty.put("a", b"x")
    entry = storage.stat(f"{faulty.url}/a")
    stop = threading.Event()

    def fault(*_):
        stop.set()
        return ("status", 503, "SlowDown")

    proxy.fault = fault
    with pytest.raises(storage.StoppedError):
        storage.fetch(entry, tmp_path / "a", stop)


def test_an_object_that_changes_is_not_taken_for_the_one_before(bucket, tmp_path):
    bucket.put("a", b"one")
    entry = storage.stat(f"{bucket.url}/a")
    bucket.put("a", b"two")
    with pytest.raises(storage.StorageError, match="another one than when this run began"):
        storage.fetch(entry, tmp_path / "a", GO_ON)


def test_no_bucket_no_credentials(bucket, monkeypatch):
    with pytest.raises(PathError, match="not there"):
        files.find((f"s3://{bucket.name}-not/in/",))
    with pytest.raises(PathError, match="there is nothing at"):
        files.find((f"{bucket.url}/in/",))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    storage._system.cache_clear()
    with pytest.raises(PathError, match="there are no credentials for it"):
        files.find((f"{bucket.url}/in/",))


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_PROFILE", "nosuch"), ("AWS_ENDPOINT_URL", "banana")]
)
def test_settings_that_are_wrong_are_told_at_once(bucket, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    storage._system.cache_clear()
    monkeypatch.setattr(storage, "FIRST_WAIT", 60.0)
    with pytest.raises(PathError, match=f"settings are wrong.*{value}") as found:
        files.find((f"{bucket.url}/in/",))
    assert name in found.value.hint
    storage._system.cache_clear()


def test_capitals_in_the_kind_of_an_address(bucket):
    bucket.put("in/a.wav", b"a")
    (found,) = files.find((f"{bucket.url}/in/".replace("s3", "S3"),)).files
    assert found.name.name == "a"


def test_google_is_tried_once_and_in_silence(monkeypatch, caplog):
    """Its client tries again by itself, and writes a page of each try."""
    asked = []

    class Core:
        retries = 6

        def __init__(self, **_):
            pass

        def _strip_protocol(self, url):
            return url

        def find(self, path, detail):
            asked.append(path)
            logging.getLogger("gcsfs").error("a page")
            raise ConnectionError("nobody answers")

    Core.__module__ = "gcsfs.core"
    newer = type("Newer", (Core,), {"__module__": "gcsfs.newer"})
    monkeypatch.setattr("fsspec.get_filesystem_class", lambda _: newer)
    storage._system.cache_clear()
    try:
        with pytest.raises(storage.StorageError, match="ConnectionError: nobody answers") as found:
            storage.below("gs://bucket/songs")
        assert "times" not in found.value.message
        assert type(storage._system("gs")) is Core
    finally:
        storage._system.cache_clear()
        logging.getLogger("gcsfs").setLevel(logging.NOTSET)
    assert len(asked) == 1
    assert caplog.text == ""


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:hunter2@bucket/x",
        "https://host/a.wav",
        "http://host/a.wav",
        "nosuch://bucket/x",
        "ftp://host/x",
        "s3://",
        "s3:///x",
        "zip::s3://bucket/x.zip",
    ],
)
def test_addresses_that_are_not_taken(url):
    with pytest.raises(UsageError) as found:
        storage.check(url)
    assert "hunter2" not in f"{found.value.message} {found.value.hint}"


def test_what_is_no_address():
    assert not any(map(storage.is_url, ("C://x", "a/b", "s3:/x", "./s3://", "")))


def test_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(NotReadyError) as found:
        storage.check("gs://bucket/x")
    assert f"{sys.executable} -m pip install fsspec gcsfs" in found.value.hint
    monkeypatch.setitem(sys.modules, "fsspec", None)
    storage._system.cache_clear()
    with pytest.raises(NotReadyError) as found:
        storage.check("s3://bucket/x")
    assert found.value.code == ExitCode.NOT_READY
    storage._system.cache_clear()


def test_folders_and_globs_like_those_of_a_disk(bucket):
    """Hidden ones and what sep made are passed over; a name with a star in it is a name."""
    report = b'{"sep": "1", "stems": {"kick": {"file": "b kick.wav"}}}'
    for key, body in {
        "in/a.flac": b"x",
        "in/live [1]/b.mp3": b"x",
        "in/live [1]/film.mp4": b"x",
        "in/live [1]/notes.txt": b"x",
        "in/.trash/c.wav": b"x",
        "in/own/sep.json": report,
        "in/own/kick.wav": b"x",
        "in/own/below/d.wav": b"x",
        "in/dying/.sep-sep.json": report,
        "in/dying/kick.wav": b"x",
        "in/shared/b sep.json": report,
        "in/shared/b kick.wav": b"x",
        "in/shared/c.wav": b"x",
    }.items():
        bucket.put(key, body)

    def names(*patterns, include=()):
        found = files.find(tuple(f"{bucket.url}/{each}" for each in patterns), include)
        assert all(each.entry.size == 1 for each in found.files)
        return [each.name.as_posix() for each in found.files], found.warnings

    whole, warnings = names("in")
    assert whole == ["a", "live [1]/b", "shared/c"]
    assert len(warnings) == 1
    assert "videos" in warnings[0]
    assert names("in/")[0] == whole
    assert names("in", include=("live*/*",))[0] == ["live [1]/b", "live [1]/film"]
    assert names("in/*.flac")[0] == ["a"]
    assert names("in/**/*.wav")[0] == ["shared/c"]
    assert names("in/live [1]/b.mp3")[0] == ["b"]
    assert names("in/a.flac", "in/shared/c.wav", "in")[0] == ["in/a", "c", "in/live [1]/b"]
    with pytest.raises(PathError, match="--include matches no audio"):
        names("in", include=("*.ogg",))
    with pytest.raises(PathError, match="there is no audio at"):
        names("in/own/")
