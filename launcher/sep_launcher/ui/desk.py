"""All that the page's server has: what its routes look at and change."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from sep_launcher import session
from sep_launcher.planning import files, models
from sep_launcher.ui.feed import Feed
from sep_launcher.ui.kept import Keeper
from sep_launcher.ui.reveal import can_reveal
from sep_launcher.ui.tasks import Task, title_of
from sep_launcher.ui.tracks import Tracks
from sep_launcher.ui.turns import Queue
from sep_launcher.ui.uploads import Uploads
from sep_protocol.errors import UsageError
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.ui.face import Face
    from sep_launcher.ui.wish import Wish

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
        self.queue = Queue(self.feed, self.keeper, self.tracks.keep, self.uploads.drop_batch)
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
            every = self.uploads.of(wish.batch)
            found = (str(every[0].path if len(every) == 1 else folder),)
            tops = dict.fromkeys(each.path.relative_to(folder).parts[0] for each in every)
            title = title_of(list(tops))  # what was dropped: files, or folders with what is in them
        else:
            found = tuple(map(whole, wish.paths))
            title = title_of(list(found))
        wish.request(found, music(), wish.existing)  # what it asks for, before what there is
        songs = files.find(found).files
        if wish.out:
            out = Path(whole(wish.out))
        else:
            out = music() if wish.batch else Path(songs[0].path).absolute().parent / SEPARATED

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

    def bye(self) -> None:
        """Tell the pages that the server ends, and read no more for them."""
        self.tracks.over.set()
        self.feed.bye()

    def end(self) -> None:
        """End what is being done and take away what pages handed over."""
        self.tracks.over.set()
        self.queue.end()
        self.uploads.empty()


def music() -> Path:
    """Return the folder for the stems of songs whose place nobody knows."""
    return platformdirs.user_music_path() / "sep"


def whole(path: str) -> str:
    """Return a path with the home folder filled in; raise UsageError where it is not a whole one.

    This server's own folder is nobody's.
    """
    found = os.path.expanduser(path)  # noqa: PTH111 (any text)
    if not os.path.isabs(found):  # noqa: PTH117 (as above)
        raise UsageError(f"{path} is no whole path", hint=f"as in {Path.home() / 'song.wav'}")
    return found
