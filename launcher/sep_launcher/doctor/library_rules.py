"""Rules about many tracks on many machines: Ray, shared disks, object stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_launcher.doctor.rule import rule
from sep_launcher.engines.ray.package import LEAST_STORE
from sep_launcher.machine.storage import ATTEMPTS
from sep_launcher.setup.torch_builds import numbers
from sep_launcher.show.finding import Fix, Group

if TYPE_CHECKING:
    from sep_launcher.doctor.evidence import Evidence, Mount

MIB = 1 << 20
OLDEST_RAY, NEXT_RAY = (2, 60), (3,)
# Of a socket's path; and what Ray puts behind its temporary folder, with a long process id:
# /ray/session_2026-11-26_14-48-30_123456_1234567/sockets/plasma_store
MOST_BYTES = {"linux": 107, "macos": 103, "windows": 1 << 15}
SOCKET_BYTES = 68
OTHERS = 0o077
INSTALL = "python -m pip install 'ray[default]>=2.60,<3', by the Python that sep runs in"
CLUSTER = "runs with --engine ray"
QUARANTINED = "died at it"
ALLOWED = "see who this shell is: aws sts get-caller-identity, gcloud auth list, az account show"


@rule(Group.LIBRARY, "error", breaks=CLUSTER, fix=INSTALL)
def ray_missing(evidence: Evidence) -> str | None:
    """Ray is wanted and not installed beside sep."""
    wanted = evidence.variable("SEP_ENGINE") == "ray"
    if evidence.looked_far and wanted and not (evidence.ray and evidence.ray.version):
        return "SEP_ENGINE is ray"
    return evidence.heard("Ray is not installed beside sep", "Ray cannot be imported")


@rule(Group.LIBRARY, "warning", breaks=CLUSTER, fix=INSTALL)
def ray_version(evidence: Evidence) -> str | None:
    """Ray is older or newer than what sep knows."""
    ray = evidence.ray
    if ray is None or not ray.version:
        return None
    known = OLDEST_RAY <= numbers(ray.version)[:2] < NEXT_RAY
    return None if known else f"Ray {ray.version}; 2.60 or newer is needed, below 3"


@rule(
    Group.LIBRARY,
    "warning",
    breaks=f"{CLUSTER} on nodes that this command starts: all must have one Ray and one Python",
    fix="start nodes by the `ray` beside sep: bin/ray in the environment that sep is installed in",
)
def ray_of_another(evidence: Evidence) -> str | None:
    """The Ray of a node is of another version, or of another Python, than sep's."""
    said = evidence.heard("ersion mismatch")
    if said and said.startswith("Ray: "):
        return said
    ray = evidence.ray
    if ray is None or not (ray.version and ray.command):
        return None
    ours, theirs = (ray.version, evidence.python), (ray.command_version, ray.command_python)
    if ours == theirs:
        return None
    told = f"{ray.command} is Ray {theirs[0]} of Python {theirs[1]}"
    return f"{told}, sep has Ray {ours[0]} of Python {ours[1]}"


@rule(
    Group.LIBRARY,
    "warning",
    breaks=f"{CLUSTER} at RAY_ADDRESS",
    fix="export RAY_ADDRESS=HOST:PORT of the cluster's head, or leave it unset and use --address",
)
def ray_address(evidence: Evidence) -> str | None:
    """RAY_ADDRESS is nothing that sep can join."""
    address = evidence.variable("RAY_ADDRESS")
    if not address:
        return None
    host, _, port = address.rpartition(":")
    return None if host and port.isdigit() and "://" not in address else address


@rule(
    Group.LIBRARY,
    "warning",
    breaks=f"{CLUSTER}: a cluster with a token lets nobody in without it",
    fix="put what `ray get-auth-token` prints on the head into the file RAY_AUTH_TOKEN_PATH",
)
def ray_token_missing(evidence: Evidence) -> str | None:
    """The Ray cluster's token is not here."""
    ray, address = evidence.ray, evidence.variable("RAY_ADDRESS")
    guarded = evidence.variable("RAY_AUTH_MODE") != "disabled"
    tls = evidence.variable("RAY_USE_TLS").lower() in ("1", "true")
    if ray and address and guarded and not tls and not ray.has_token:
        return f"for {address}"
    return evidence.heard("asks for a token, and none is here", "has another token")


@rule(
    Group.LIBRARY,
    "warning",
    breaks="the cluster's secret: who reads it runs code on every node",
    fix=Fix(everywhere="chmod 600 TOKEN-FILE, then a new token where others may have read it"),
)
def ray_token_readable(evidence: Evidence) -> str | None:
    """Others can read the token of a Ray cluster."""
    ray = evidence.ray
    if ray and ray.file_mode is not None and ray.file_mode & OTHERS:
        return f"{ray.file} has mode {ray.file_mode:04o}"
    return None


@rule(
    Group.LIBRARY,
    "warning",
    breaks="the safety of all nodes: whoever reaches a cluster without a token runs code there",
    fix="export RAY_AUTH_MODE=token, then start its nodes again",
)
def ray_open(evidence: Evidence) -> str | None:
    """A Ray cluster lets everybody in."""
    if evidence.variable("RAY_AUTH_MODE").lower() == "disabled":
        return "RAY_AUTH_MODE is disabled: `ray start` asks nobody for a token"
    return evidence.heard("has no token: whoever reaches it")


@rule(
    Group.LIBRARY,
    "warning",
    breaks="nothing of sep's: no audio goes there. Ray uses the temporary folder instead",
    fix="docker run --shm-size 256m; elsewhere: free /dev/shm",
)
def ray_shared_memory(evidence: Evidence) -> str | None:
    """There is too little shared memory for Ray."""
    ray = evidence.ray
    if ray is None or ray.shared_memory is None or evidence.host.system != "linux":
        return None
    if ray.shared_memory >= LEAST_STORE:
        return None
    free = f"{ray.shared_memory / MIB:.0f} MiB are free in /dev/shm"
    return f"{free}, Ray needs {LEAST_STORE // MIB} at least"


@rule(
    Group.LIBRARY,
    "warning",
    breaks="nodes that `ray start` begins from this shell: paths of sockets have a limit",
    fix="ray start --temp-dir /tmp/r, or export RAY_TMPDIR=/tmp",
)
def ray_socket_path(evidence: Evidence) -> str | None:
    """Ray's temporary folder has too long a name."""
    ray = evidence.ray
    said = evidence.heard("AF_UNIX path length")
    if said or ray is None:
        return said
    most = MOST_BYTES[evidence.host.system]
    needed = len(ray.temporary.encode("utf-8", "surrogateescape")) + SOCKET_BYTES
    return f"{ray.temporary}: sockets need {needed} bytes of {most}" if needed > most else None


@rule(
    Group.LIBRARY,
    "warning",
    breaks="several machines on one output: a lock of one is unknown to the others",
    fix="mount it with locks (NFS: no nolock, no local_lock; Lustre: flock), or an --out for each",
)
def locks_not_shared(evidence: Evidence) -> str | None:
    """The disk of the output gives one lock to several machines."""
    for each in evidence.mounts:
        if why := _unlocked(each):
            return f"{each.where} is on {each.point}, {each.kind} with {why}"
    return None


@rule(
    Group.LIBRARY,
    "error",
    breaks="runs that read from or write to an object store",
    fix="python -m pip install the packages that are named, by the Python that sep runs in",
)
def cloud_missing(evidence: Evidence) -> str | None:
    """Packages for an object store are not installed beside sep."""
    for each in evidence.stores:
        if each.missing:
            return f"{each.where} is {each.url}, which needs {each.missing}"
    return evidence.heard("needs packages that are not installed")


@rule(
    Group.LIBRARY,
    "error",
    breaks="object stores: they refuse what was signed at another time",
    fix=Fix(
        linux="sudo timedatectl set-ntp true",
        macos="sudo sntp -sS time.apple.com",
        windows="w32tm /resync",
    ),
)
def clock_wrong(evidence: Evidence) -> str | None:
    """This machine's clock is wrong."""
    return evidence.heard("RequestTimeTooSkewed", "request time and the current time is too large")


@rule(Group.LIBRARY, "error", breaks="this run", fix=ALLOWED)
def store_refuses(evidence: Evidence) -> str | None:
    """An object store does not let this user in."""
    return evidence.heard(": it is refused (", ": there are no credentials for it")


@rule(
    Group.LIBRARY,
    "error",
    breaks="this run: what is done is stored, --resume goes on with the rest",
    fix="look at the network, HTTPS_PROXY, AWS_ENDPOINT_URL and the store; then --resume",
)
def store_unreachable(evidence: Evidence) -> str | None:
    """An object store does not answer, or fails."""
    said = evidence.heard(f", {ATTEMPTS} times")
    return said if said and "could not be" in said else None


@rule(
    Group.LIBRARY,
    "error",
    breaks="that track, or all of them where its cause is the machine",
    fix="export SEP_HANG_SECONDS=3600 waits longer; --verbose shows what the runtime wrote",
)
def runtime_silent(evidence: Evidence) -> str | None:
    """The runtime hung and was ended."""
    return evidence.heard("nothing was heard of the runtime for")


@rule(
    Group.LIBRARY,
    "error",
    breaks="that track alone: the others are done",
    fix="try it alone: sep run SONG --batch 1 --verbose; then --resume --retry-quarantined -j 1",
)
def track_quarantined(evidence: Evidence) -> str | None:
    """The runtime died several times at one track."""
    return evidence.heard(QUARANTINED)


def _unlocked(mount: Mount) -> str:
    """Return the option for which locks hold on one machine alone; nothing where they are shared.

    NFS of version 4 has locks of its own, so that `nolock` means nothing there.
    """
    options = mount.options
    if mount.kind == "lustre":
        return "localflock" if "localflock" in options else ""
    local = next((each for each in options if each in ("local_lock=all", "local_lock=flock")), "")
    if local:
        return local
    return "nolock" if mount.kind == "nfs" and "nolock" in options else ""


RULES = (
    ray_missing,
    ray_version,
    ray_of_another,
    ray_address,
    ray_token_missing,
    ray_token_readable,
    ray_open,
    ray_shared_memory,
    ray_socket_path,
    locks_not_shared,
    cloud_missing,
    clock_wrong,
    store_refuses,
    store_unreachable,
    runtime_silent,
    track_quarantined,
)
