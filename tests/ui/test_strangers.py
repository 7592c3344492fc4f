"""Pages of others in a browser that is signed in: what they can read and do."""

import contextlib
import http.server
import threading

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
pytest.importorskip("starlette", reason="the extra `ui` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


class Stranger(http.server.SimpleHTTPRequestHandler):
    """Somebody's page on another port of this machine: the same site, as cookies see it."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>stranger</title>")

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_port_reads_and_does_nothing(faked, chromium, stranger):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(faked.address)  # the cookie is here
    page.goto(stranger)
    found = page.evaluate(
        """async (base) => {
        const tried = async (work) => { try { return String(await work()); } catch (fault) { return 'refused'; } };
        const loaded = (tag, path) => new Promise((done) => {
            const each = document.createElement(tag);
            each.onload = () => done('loaded'); each.onerror = () => done('refused');
            each.src = base + path; document.body.append(each);
        });
        const form = document.createElement('form');
        return {
            fetch: await tried(async () => (await fetch(base + '/api/state', {credentials: 'include'})).text()),
            blind: await tried(async () => (await fetch(base + '/api/state', {credentials: 'include', mode: 'no-cors'})).type),
            post: await tried(async () => (await fetch(base + '/api/jobs', {method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"paths": ["/x"]}'})).type),
            head: await tried(async () => (await fetch(base + '/api/jobs', {method: 'POST', credentials: 'include', headers: {'x-sep': '1'}, body: '{}'})).text()),
            script: await loaded('script', '/api/state'),
            img: await loaded('img', '/static/icon.svg'),
            stream: await new Promise((done) => { const s = new EventSource(base + '/api/events?after=0', {withCredentials: true}); s.onmessage = () => done('heard'); s.onerror = () => { s.close(); done('refused'); }; }),
        };
    }""",
        faked.base,
    )
    assert found.pop("post") in ("opaque", "refused")  # it may not be read; below: nothing was done
    assert found.pop("blind") in ("opaque", "refused")
    assert set(found.values()) == {"refused"}, found
    page.evaluate(
        """(base) => { const form = document.createElement('form'); form.method = 'POST'; form.action = base + '/api/jobs';
        form.enctype = 'text/plain'; document.body.append(form); form.submit(); }""",
        faked.base,
    )
    page.wait_for_timeout(500)
    assert faked.state()["tasks"] == []
    page.goto(stranger)
    page.set_content(f"<iframe src='{faked.base}/' width=300 height=300></iframe>")
    page.wait_for_timeout(1000)
    assert not any("Drop songs" in (each.text_content("body") or "") for each in page.frames[1:])
    context.close()


def test_a_name_that_now_means_this_machine(faked, chromium):
    context = chromium.new_context()
    page = context.new_page()
    seen = []
    page.on("response", lambda answer: seen.append((answer.url.partition("?")[0], answer.status)))
    base = f"http://evil.test:{faked.port}"
    for path in ("/", "/api/state", f"/enter?token={faked.token}"):
        with contextlib.suppress(playwright.Error):  # an answer without a body is none to show
            page.goto(base + path)
        page.wait_for_timeout(300)
        assert "Drop songs" not in page.content()
    assert seen == [(base + path, 403) for path in ("/", "/api/state", "/enter")]
    context.close()
