"""MSST's YAML beside a BS- or Mel-Band Roformer, as a Manifest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sep_runtime.models.drafts import DisagreementError, agree, of_msst

if TYPE_CHECKING:
    from sep_models import Manifest
    from sep_runtime.models.drafts import Network
    from sep_runtime.models.identity import Identity
    from sep_runtime.models.tables import Table

_KEYS = (
    *("dim", "depth", "stereo", "num_stems", "heads", "dim_head", "mlp_expansion_factor"),
    *("time_transformer_depth", "freq_transformer_depth", "linear_transformer_depth"),
    *("freqs_per_bands", "num_bands", "sample_rate", "mask_estimator_depth", "zero_dc"),
    *("stft_n_fft", "stft_hop_length", "stft_win_length", "stft_normalized", "skip_connection"),
    *("use_pope", "use_shared_bias"),
    # These change nothing: of training, of the kernel, or of the length that is cut off anyway.
    *("dim_freqs_in", "attn_dropout", "ff_dropout", "flash_attn", "use_torch_checkpoint"),
    *("sage_attention", "num_subbands", "match_input_audio_length"),
)
OVERLAP = 2  # of MSST where a YAML says none
MOST_FFT = 1 << 16


def manifest_of(root: Table, name: str, identity: Identity) -> Manifest:
    """Return the manifest; raise ValueError where the document says none."""
    model = root.table("model")
    model.only(_KEYS, ("multi_stft_",))
    agree(
        identity,
        {
            "dim": model.maybe("dim"),
            "depth": model.maybe("depth"),
            "heads": model.maybe("heads"),
            "dim_head": model.maybe("dim_head"),
            "mel_bands": model.maybe("num_bands"),
        },
    )
    n_fft = model.whole("stft_n_fft", 2048)
    model.within("stft_n_fft", n_fft, 64, MOST_FFT)
    hop, win = model.whole("stft_hop_length", 512), model.whole("stft_win_length", 2048)
    model.within("stft_win_length", win, 16, n_fft)
    model.within("stft_hop_length", hop, 1, win)
    shared = bool(identity.facts["shared_bias"])
    taken = ("dim", "depth", "heads", "dim_head", "time_depth", "freq_depth", "linear_depth")
    network: Network = {
        **{each: identity.facts[each] for each in (*taken, "mask_layers", "pope", "shared_bias")},
        **_bands(model, identity, n_fft),
        "n_fft": n_fft,
        "hop": hop,
        "win": win,
        "normalized": model.flag("stft_normalized"),
        # One that makes no difference where masks have one layer.
        "mlp_factor": identity.count("mlp_factor") or 4,
        "zero_dc": model.flag("zero_dc", default=not shared),
        "skip": model.flag("skip_connection"),
    }
    found = of_msst(root, name, identity, network, overlap=OVERLAP)
    if found.chunk <= n_fft // 2:
        raise ValueError(f"a chunk of {found.chunk} samples is too short for stft_n_fft {n_fft}")
    return found


def _bands(model: Table, identity: Identity, n_fft: int) -> Network:
    """Return the bands and the channels of audio, which their widths tell.

    Raises DisagreementError, and ValueError where the bands are not those of the file.
    """
    widths = identity.counts("widths")
    if identity.architecture == "mel-band-roformer":
        rate = model.whole("sample_rate", 44100)
        model.within("sample_rate", rate, 4000, 768_000)
        bins = mel_bins(len(widths), rate, n_fft)
        for channels in (2, 1):
            if tuple(2 * channels * each for each in bins) == widths:
                return {
                    "mel_bands": len(widths),
                    "sample_rate": rate,
                    "audio_channels": channels,
                }
        raise ValueError(
            f"the mel bands of stft_n_fft {n_fft} and sample_rate {rate} are not those of the file"
        )
    per_bin, rest = divmod(sum(widths), n_fft // 2 + 1)
    if rest or per_bin not in (2, 4):
        raise DisagreementError({"n_fft": n_fft}, {"n_fft": sum(widths) // 2 - 2})
    bands = tuple(each // per_bin for each in widths)
    said = model.wholes("freqs_per_bands") if "freqs_per_bands" in model.values else bands
    if said != bands:
        raise DisagreementError({"freqs_per_bands": said}, {"freqs_per_bands": bands})
    return {"bands": bands, "audio_channels": per_bin // 2}


def mel_bins(bands: int, sample_rate: int, n_fft: int) -> tuple[int, ...]:
    """Return how many bins each band has: those between the bands' neighbours on the mel scale.

    The first band has bin 0 and the last the top bin, too.
    """
    high = _mel_of(sample_rate / 2)
    inner = [_hz_of(high * each / (bands + 1)) for each in range(1, bands + 1)]
    edges = [each * n_fft / sample_rate for each in (0, *inner, sample_rate / 2)]  # in bins
    counts = [math.ceil(edges[b + 2]) - math.floor(edges[b]) - 1 for b in range(bands)]
    counts[0] += 1
    counts[-1] += 1
    return tuple(counts)


def _mel_of(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)  # noqa: PLR2004 (the scale's knee)


def _hz_of(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)  # noqa: PLR2004 (the same)
