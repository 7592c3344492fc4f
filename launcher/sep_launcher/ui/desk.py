"""All that the page's server has: what its routes look at and change."""

from __future__ import annotations

import hmac
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from sep_launcher import session
from sep_launcher.machine import paths
from sep_launcher.machine.probe import probe
from sep_launcher.planning import files, models, own
from sep_launcher.planning import route as routes
from sep_launcher.planning.places import place
from sep_launcher.ui.feed import Feed
from sep_launcher.ui.kept import Keeper
from sep_launcher.ui.reveal import can_reveal
from sep_launcher.ui.tasks import Song, Task, title_of
from sep_launcher.ui.tracks import Tracks
from sep_launcher.ui.turns import Queue
from sep_launcher.ui.uploads import Uploads
from sep_protocol.errors import SepError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.ui.face import Face
    from sep_launcher.ui.wish import Wish
    from sep_protocol import TrackDone

ONCE_SECONDS = 60.0  # that an address with a nonce is good for
SEPARATED = "separated"  # the folder beside songs, as of the command line


class Desk:
    """One server's. `home` is the folder for what it notes and for what pages hand over."""

    def __init__(self, home: Path, *, port: int, token: str) -> None:
        self.port = port
        self.token = token
        self.feed = Feed()
        self.uploads = Uploads(home / "uploads")
        self.uploads.empty()
        self.tracks = Tracks(home / "tracks.json", self.feed)
        self.keeper = Keeper()
        self.queue = Queue(
            self.feed, self.keeper, self._keep, lambda task: self.uploads.drop_batch(task.upload)
        )
        self._nonces: dict[str, float] = {}

    def nonce(self) -> str:
        """Return a word that opens the page once, soon."""
        made = secrets.token_urlsafe(32)
        self._nonces[made] = time.monotonic() + ONCE_SECONDS
        return made

    def enters(self, once: str, token: str) -> bool:
        """Say whether a nonce, which is used up by that, or the token opens the page."""
        now = time.monotonic()
        self._nonces = {each: end for each, end in self._nonces.items() if end > now}
        if self._nonces.pop(once, None) is not None:
            return True
        return token.isascii() and hmac.compare_digest(token, self.token)

    def snapshot(self) -> dict[str, Any]:
        """Return all that a page shows."""
        return self.feed.snapshot(
            lambda: {
                "version": __version__,
                "tasks": self.queue.document(),
                "tracks": self.tracks.document(),
                "reveals": can_reveal(),
            }
        )

    def run(self, wish: Wish) -> Task:
        """Split songs when their turn comes.

        Raises UsageError where options exclude each other, PathError where there is no audio.
        """
        found: tuple[str, ...]
        if wish.batch:
            folder = self.uploads.folder(wish.batch)
            every = [each for each in self.uploads.every.values() if each.batch == wish.batch]
            found = (str(every[0].path if len(every) == 1 else folder),)
            title = title_of([str(each.path) for each in every])
            out = Path(wish.out) if wish.out else music()
        else:
            found = wish.paths
            title = title_of(list(found))
            out = Path(wish.out) if wish.out else beside(found)
        wish.request(found, out, wish.existing)
        files.find(found)

        def work(face: Face) -> int:
            return session.run(
                lambda: wish.request(found, out, task.existing),
                face,
                dry_run=False,
                yes=False,
                offline=False,
                engines=self.keeper.engine_of,
            )

        task = Task(title=title, kind="run", work=work, existing=wish.existing, upload=wish.batch)
        self.queue.add(task)
        return task

    def setup(self) -> Task:
        """Prepare this machine when its turn comes."""
        from sep_launcher.setup import command  # noqa: PLC0415 (few servers need it)

        task = Task(
            title="Set up this computer",
            kind="setup",
            work=lambda face: command.setup(command.Wanted(), face),
        )
        self.queue.add(task)
        return task

    def pull(self, name: str) -> Task:
        """Fetch a model when its turn comes; raise ModelError where there is none."""
        from sep_launcher.setup import command  # noqa: PLC0415 (few servers need it)

        models.known(name)
        task = Task(
            title=f"Get the model {name}",
            kind="pull",
            work=lambda face: command.pull_models((name,), face, yes=False),
        )
        self.queue.add(task)
        return task

    def _keep(self, song: Song, event: TrackDone) -> None:
        now = next((task for task in self.queue.tasks.values() if song in task.songs), None)
        self.tracks.keep(song, event, now.model if now else "")

    def end(self) -> None:
        """End what is being done and take away what pages handed over."""
        self.queue.end()
        self.uploads.empty()


def machine() -> dict[str, Any]:
    """Return where a run would be computed and why, and which models there are."""
    host = probe()
    try:
        wanted = routes.Wanted()
        route = routes.choose(host, wanted)
        way: dict[str, Any] = {
            "engine": route.engine,
            "device": route.device,
            "ready": route.ready,
            "reason": route.reason,
            "place": place(host, route, wanted),
        }
    except SepError as fault:
        way = {"ready": False, "fault": fault.message, "hint": fault.hint}
    found = [*models.table(), *(models.row(each) for each in own.every())]
    told = ("name", "summary", "expects", "stems", "installed", "default", "bytes", "licence")
    return {
        "route": way,
        "models": [{key: each.get(key) for key in told} for each in found],
        "music": str(music()),
        "data": str(paths.data()),
    }


def music() -> Path:
    """Return the folder for the stems of songs whose place nobody knows."""
    return platformdirs.user_music_path() / "sep"


def beside(found: tuple[str, ...]) -> Path:
    """Return the folder for stems beside the first of these songs or folders."""
    return Path(found[0]).absolute().parent / SEPARATED
