"""What a report must not say, it does not say, however it is written."""

import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sep_launcher.doctor.redact import Redactor

STRICT = Redactor(strict=True, user="somebody", machine="workbench")
OPEN = Redactor(user="somebody", machine="workbench")
PRINTABLE = "".join(map(chr, range(33, 127))) + "äß曲"
SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"
ANY = st.text(PRINTABLE, min_size=6, max_size=30)
WITH_SPACES = st.text(PRINTABLE + "  ", min_size=6, max_size=30).map(
    lambda each: f"x{each.strip()}y"
)
PLAIN = st.text(SAFE, min_size=6, max_size=30)

ENTRANCES = (
    "https://someone:{}@host.example/simple",
    "https://{}:x@host.example/simple",
    "https://{}@host.example:8443/simple",
    "git+https://{}@host.example/x.git",
    "HTTPS://someone:{}@host.example",
    "'https://someone:{}@host.example/'",
    "(http://someone:{}@proxy.example:3128)",
    "tcp://someone:{}@192.0.2.1:2375",
    "ERROR: --index-url https://someone:{}@host.example/simple is not there, see https://x.example/a",
)
WORDS = (
    "https://host.example/simple?token={}",
    "https://host.example/simple?a=b&api_key={}&c=d",
    "https://host.example/simple/#access_token={}",
    "Authorization: Bearer {}",
    "proxy-authorization: Basic {}",
    "{{'Authorization': 'Token {}'}}",
    "cookie: session={}",
    "password={}",
    "PIP_PASSWORD={} pip",
    "HF_TOKEN: {}",
    "--password {}",
    "--api-key={}",
    "&key={}",
)
ADDRESSES = (
    "https://host.example/{}/simple/torch",
    "https://host.example/simple/{}",
    "--index-url host.example/{}/simple",
    "--extra-index-url=//host.example/{}/simple",
    "--find-links host.example/{}",
    "HTTPSConnectionPool(host='host.example', port=443): Max retries exceeded with url: /{}/torch/",
    "someone:{}@proxy.example:3128",
    "{}@proxy.example:3128",
    "https%3A%2F%2Fsomeone%3A{}%40host.example",
)
many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def told(redactor, form, secret):
    """Return what is shown of a text with a secret in it; no part of the secret may stand there."""
    shown = redactor.text(form.format(secret))
    plain = form.replace("{{", "{").replace("}}", "}")
    for start in range(len(secret) - 5):
        part = secret[start : start + 6]
        if part.lower() not in f"{plain} <hidden> <address>".lower():
            assert part not in shown, shown
    return shown


@pytest.mark.parametrize("form", ENTRANCES)
@pytest.mark.parametrize("redactor", [STRICT, OPEN], ids=["strict", "open"])
@many
@given(secret=ANY | WITH_SPACES)
def test_who_may_enter_is_in_no_address(form, redactor, secret):
    told(redactor, form, secret)
    told(redactor, form, quote(secret, safe=""))


@pytest.mark.parametrize("form", WORDS)
@pytest.mark.parametrize("redactor", [STRICT, OPEN], ids=["strict", "open"])
@many
@given(secret=ANY)
def test_what_has_a_secret_name_has_no_value(form, redactor, secret):
    assume(not secret.startswith(("'", '"')))
    told(redactor, form, secret)


@pytest.mark.parametrize("form", ADDRESSES)
@many
@given(secret=PLAIN)
def test_of_an_address_others_see_the_host_at_most(form, secret):
    told(STRICT, form, secret)


@many
@given(secret=ANY)
def test_variables_are_known_by_their_names(secret):
    assume(not secret.startswith("//"))  # else the last but one is an address without a secret
    variables = {
        "PYTHONPATH": f"/srv/{secret}",
        "LD_LIBRARY_PATH": f"/srv/{secret}",
        "SEP_TORCH_INDEX": f"host.example/{secret}",
        "HTTPS_PROXY": f"someone:{secret}@proxy",
        "HF_TOKEN": secret,
    }
    shown = STRICT.all({"variables": variables})["variables"]
    assert shown == {
        "PYTHONPATH": "<set>",
        "LD_LIBRARY_PATH": "<set>",
        "SEP_TORCH_INDEX": "<hidden>",
        "HTTPS_PROXY": "<hidden>",
        "HF_TOKEN": "<hidden>",
    }


def test_what_variables_hold_is_hidden_wherever_it_stands(monkeypatch):
    monkeypatch.setenv(
        "SEP_TORCH_INDEX", "https://someone:p%40ss-w0rd@host.example/t0ken-path/simple"
    )
    monkeypatch.setenv("HF_TOKEN", "abcdefgh12345678")
    monkeypatch.setenv("PYTHONPATH", "/srv/customer:/srv/other")
    said = (
        "p@ss-w0rd, /t0ken-path/torch/, abcdefgh12345678, /srv/other/x.py, /srv/customer:/srv/other"
    )
    shown = Redactor(strict=True).text(said)
    assert shown == "<hidden>, /<hidden>/torch/, <hidden>, <set>/x.py, <set>"


@pytest.mark.parametrize(
    ("text", "strict", "plain"),
    [
        ("https://host.example:8443/simple/x", "https://host.example:8443", None),
        ("see 'https://host.example', please", "see 'https://host.example please", None),
        ("https://a:b@host.example/x?y", "https://host.example", "https://host.example/x?<hidden>"),
        ("https://[::1]:80/x", "https://[::1]:80", None),
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock", None),
        ("tcp://192.0.2.1:2375", "tcp://<address>", None),
        (
            "/opt/homebrew/opt/python@3.11/bin/python",
            "/opt/homebrew/opt/python@3.11/bin/python",
            None,
        ),
        ("someone@host.example", "<hidden>", None),
        ("pip install torch==2.13.0 --index-url https://host.example/whl/cpu", None, None),
        ("default", "default", None),
        ("tokenizers 0.15.2, no key", "tokenizers 0.15.2, no key", None),
        ("two\nlines", "two\nlines", None),
    ],
)
def test_what_stays(text, strict, plain):
    """For others the host, for people at this machine what they type."""
    assert OPEN.text(text) == (plain or text)
    if strict:
        assert STRICT.text(text) == strict


def test_keys_and_other_values_stay():
    found = {"tokenizers": "0.15", "n": 3, "none": None, "list": ["a", True]}
    assert STRICT.all(found) == found
    assert json.dumps(STRICT.all(found))
