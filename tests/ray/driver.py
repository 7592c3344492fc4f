"""A driver's Plan over tracks, for tests in this process and in others."""

from pathlib import Path, PurePath

from sep_launcher.machine.host import Host, Native
from sep_launcher.machine.storage import is_url
from sep_launcher.planning import plan as plans
from sep_launcher.planning.choice import only
from sep_launcher.planning.naming import Found
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Route
from sep_protocol import Model


def plan(out, *names, model=None, folder="/music", ending=".wav", entry=None, **more):
    """Return it; its Python is nowhere, because each node has its own.

    `entry` is the one track's mix in a store.
    """
    host = Host(system="linux", native=Native(python="/nowhere", source="own"))
    route = Route(engine="native", device="cpu", reason="", ready=True)
    found = [
        Found(path=Path(folder, each + ending), name=PurePath(each), entry=entry) for each in names
    ]
    request = Request(files=("x",), out=out if is_url(str(out)) else Path(out), **more)
    chosen = only(model or Model(name="mdx23c-mini"))
    return plans.plan(request, host, route, found=found, chosen=chosen)
