"""MSST's YAML beside a BS- or Mel-Band Roformer, as a Manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sep_runtime.models.drafts import DisagreementError, agree, of_msst
from sep_runtime.nets.roformer import mel_ranges

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
        bins = [end - first for first, end in mel_ranges(len(widths), n_fft, rate)]
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
