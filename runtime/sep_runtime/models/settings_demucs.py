"""What a Demucs of its authors, of MSST or of torchaudio says of itself, as a Manifest."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from sep_models import canonical
from sep_runtime.models.drafts import agree, manifest, stems_of
from sep_runtime.models.tables import Table
from sep_runtime.nets.hdemucs import HDemucsShape
from sep_runtime.nets.htdemucs import HTDemucsShape

if TYPE_CHECKING:
    from fractions import Fraction

    from sep_models import Manifest
    from sep_runtime.models.drafts import Network
    from sep_runtime.models.identity import Identity
    from sep_runtime.models.package import Package

_SHAPES: dict[str, type[HTDemucsShape | HDemucsShape]] = {
    "htdemucs": HTDemucsShape,
    "hdemucs": HDemucsShape,
}
# Options that sep runs with these values alone.
_FIXED: dict[str, tuple[object, ...]] = {
    "cac": (True,),
    "rewrite": (True,),
    "hybrid": (True,),
    "multi_freqs": ((),),
    "wiener_iters": (0,),
    "end_iters": (0,),
    "t_emb": ("sin",),
    "t_norm_first": (True,),
    "t_norm_in_group": (False, 0),
    "t_group_norm": (False, 0),
    "t_sparse_self_attn": (False,),
    "t_sparse_cross_attn": (False,),
    "t_sin_random_shift": (0,),
    "num_subbands": (1,),
}
# Options of training, or of what is fixed above.
_IDLE = (
    *("sources", "audio_channels", "samplerate", "segment", "use_train_segment", "emb_smooth"),
    *("dconv_init", "rescale", "wiener_residual", "multi_freqs_depth", "t_dropout", "t_lr"),
    *("t_max_positions", "t_cape_mean_normalize", "t_cape_augment", "t_cape_glob_loc_scale"),
    *("t_mask_type", "t_mask_random_seed", "t_sparse_attn_window", "t_global_window"),
    *("t_sparsity", "t_auto_sparsity", "t_weight_decay"),
    # Of the shape of the other one, and so without meaning here.
    *(each.name for shape in _SHAPES.values() for each in fields(shape)),
)
_LARGEST = 1e9  # of what options say
_SECONDS = {"htdemucs": 10, "hdemucs": 40}  # segments where a package says none
_OVERLAP = 4 / 3  # of demucs: 0.25 in its own words
_MSST_OVERLAP = 4
_TORCHAUDIO_CHUNK = 441_000  # samples: 10 s, as its tutorial has it
_TORCHAUDIO_STEMS = ("drums", "bass", "other", "vocals")


def of_msst(root: Table, name: str, identity: Identity) -> Manifest:
    """Return the manifest for MSST's YAML and its way to cut a song; raise ValueError."""
    options = root.table(root.text("model"))
    training = root.table("training")
    inference = root.table("inference", optional=True)
    rate = training.whole("samplerate", 44100)
    chunk = _samples(training, "segment", training.number("segment"), rate)
    network = _network(options, identity)
    if identity.architecture == "htdemucs":
        network["segment"] = chunk if options.flag("use_train_segment") else 0
    return manifest(
        name,
        identity.architecture or "htdemucs",
        network,
        stems=stems_of(
            training.texts("instruments"),
            training.text("target_instrument"),
            identity.count("stems"),
        ),
        sample_rate=rate,
        chunk=chunk,
        overlap=inference.whole("num_overlap", _MSST_OVERLAP),
        scheme="msst-demucs",
        normalize=inference.flag("normalize"),
    )


def of_package(package: Package, name: str, identity: Identity) -> Manifest:
    """Return the manifest for a package of demucs, and its way to cut a song; raise ValueError."""
    architecture = package.klass.lower()
    if architecture != identity.architecture:
        raise ValueError(f"it is called {package.klass}, and its weights are {identity.sentence}")
    if len(package.args) > 1:
        raise ValueError("it was made with arguments that have no names")
    options = Table("", dict(zip(("sources",), package.args, strict=False)) | package.kwargs)
    rate = options.whole("samplerate", 44100)
    seconds = options.number("segment", _SECONDS[architecture])
    chunk = _samples(options, "segment", seconds, rate)
    network = _network(options, identity)
    if identity.architecture == "htdemucs":
        network["segment"] = chunk if options.flag("use_train_segment", default=True) else 0
    return manifest(
        name,
        identity.architecture,
        network,
        stems=stems_of(options.texts("sources"), "", identity.count("stems")),
        sample_rate=rate,
        chunk=chunk,
        overlap=_OVERLAP,
        scheme="demucs",
        normalize=True,
    )


def of_torchaudio(name: str, identity: Identity) -> Manifest:
    """Return the manifest for torchaudio's HDemucs without any settings; raise ValueError.

    Its names of stems and their order are those of torchaudio's documents, its chunk of 10 s that
    of the tutorial there; chunks are cut and joined as demucs does, with more overlap than the
    tutorial's 0.1 s.
    """
    if identity.count("stems") != len(_TORCHAUDIO_STEMS):
        raise ValueError(f"it has {identity.count('stems')} stems, whose names are not in it")
    return manifest(
        name,
        "hdemucs",
        _network(Table("", {}), identity),
        stems=(tuple(map(canonical, _TORCHAUDIO_STEMS)), False),
        sample_rate=44100,
        chunk=_TORCHAUDIO_CHUNK,
        overlap=_OVERLAP,
        scheme="demucs",
        normalize=True,
    )


def _samples(table: Table, key: str, seconds: float | Fraction, rate: int) -> int:
    table.within(key, seconds, 0.1, 200)
    return int(seconds * rate)


def _network(options: Table, identity: Identity) -> Network:
    """Return the shape's fields: from the file, else the options, else as the authors' class."""
    options.only((*_FIXED, *_IDLE))
    for key, values in _FIXED.items():
        options.fixed(key, *values)
    stride = options.whole("stride", 4)
    options.within("stride", stride, 1, identity.count("kernel_size"))
    bins = identity.count("bins")
    nfft = 2 * stride * bins if bins else options.whole("nfft", 4096)
    options.within("nfft", nfft, 64, 1 << 16)
    told = ("channels", "depth", "growth", "bottom_channels", "t_layers", "nfft")
    agree(
        replace(identity, facts={**identity.facts, "nfft": nfft}),
        {each: options.maybe(each) for each in told},
    )
    network: Network = {
        "stride": stride,
        "nfft": nfft,
        "audio_channels": identity.count("audio_channels"),
    }
    for each in fields(_SHAPES[identity.architecture or ""]):
        if each.name in network or each.name in ("stems", "segment"):
            continue
        if each.name in identity.facts:
            network[each.name] = identity.facts[each.name]
        elif isinstance(each.default, bool):
            network[each.name] = options.flag(each.name, default=each.default)
        elif isinstance(each.default, int):
            options.within(each.name, whole := options.whole(each.name, each.default), 0, _LARGEST)
            network[each.name] = whole
        elif isinstance(each.default, float):
            number = float(options.number(each.name, each.default))
            options.within(each.name, number, each.name == "t_max_period", _LARGEST)
            network[each.name] = number
    _check_widths(options, network)
    return network


def _check_widths(options: Table, network: Network) -> None:
    """Raise ValueError where what only the options say does not divide the file's widths."""
    shape = Table("", network)
    channels, growth, depth = (shape.whole(each) for each in ("channels", "growth", "depth"))
    starts, groups = shape.whole("norm_starts"), shape.whole("norm_groups")
    if starts < depth and (groups < 1 or channels * growth**starts % groups):
        raise ValueError(f"{options.name}norm_groups does not divide the network's channels")
    if "t_heads" not in network:
        return
    heads = shape.whole("t_heads")
    width = shape.whole("bottom_channels") or channels * growth ** (depth - 1)
    options.within("t_heads", heads, 1, 64)
    if width % heads:
        raise ValueError(f"{options.name}t_heads does not divide the {width} channels")
