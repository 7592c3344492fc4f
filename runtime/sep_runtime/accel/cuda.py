"""Kernels for NVIDIA GPUs, compiled by the NVRTC that comes with torch: no compiler is needed.

Instance norm and GELU in channels-last order, half precision between float32 sums: one pass over
the memory for the sums, one for the rest. Where anything is missing, torch's operators do it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from sep_runtime.accel import caches

if TYPE_CHECKING:
    from torch import Tensor, nn

VECTOR = 8  # values that a thread loads at once
THREADS = 256  # of a block
MOST_CHANNELS = THREADS * VECTOR
POSITIONS = 16  # that a thread goes through, at least
MOST_TILES = 256  # blocks that share the sums of one item
ERROR = 4.0  # units of the type's precision that a value may differ from torch's, of its largest

# Sums are of differences from a channel's first value, which keeps them exact where the mean is
# large beside the deviation. erf: Abramowitz and Stegun 7.1.26, error 1.5e-7, below any half's.
SOURCE = r"""
typedef unsigned short u16;
typedef unsigned int u32;

__device__ __forceinline__ float low(u32 pair) { LOW }
__device__ __forceinline__ float high(u32 pair) { HIGH }
__device__ __forceinline__ u32 both(float a, float b) { BOTH }

__device__ __forceinline__ void unpack(const uint4 from, float* to) {
  to[0] = low(from.x); to[1] = high(from.x); to[2] = low(from.y); to[3] = high(from.y);
  to[4] = low(from.z); to[5] = high(from.z); to[6] = low(from.w); to[7] = high(from.w);
}

__device__ __forceinline__ float gelu(float x) {
  float z = fabsf(x) * 0.70710678f;
  float t = __fdividef(1.0f, fmaf(0.3275911f, z, 1.0f));
  float p = fmaf(t, 1.061405429f, -1.453152027f);
  p = fmaf(t, p, 1.421413741f);
  p = fmaf(t, p, -0.284496736f);
  p = fmaf(t, p, 0.254829592f) * t;
  float e = fmaf(-p, __expf(-z * z), 1.0f);
  return 0.5f * (x + fabsf(x) * e);
}

// Grid (tiles, items): sums over a tile's positions to parts [item, tile, 2, channel].
extern "C" __global__ void norm_sums(const uint4* x, float* parts, int channels, int positions,
    int tile) {
  extern __shared__ float shared[];
  int lanes = channels / 8, rows = blockDim.x / lanes;
  int lane = threadIdx.x % lanes, row = threadIdx.x / lanes;
  const uint4* item = x + (long long)blockIdx.y * positions * lanes;
  float shift[8], sum[8], square[8];
  unpack(item[lane], shift);
  for (int i = 0; i < 8; i++) sum[i] = square[i] = 0.0f;
  int end = min(positions, (int)(blockIdx.x + 1) * tile);
  if (row < rows)
#pragma unroll 4
    for (int at = blockIdx.x * tile + row; at < end; at += rows) {
      float value[8];
      unpack(item[(long long)at * lanes + lane], value);
      for (int i = 0; i < 8; i++) {
        float difference = value[i] - shift[i];
        sum[i] += difference;
        square[i] = fmaf(difference, difference, square[i]);
      }
    }
  if (row < rows)
    for (int i = 0; i < 8; i++) {
      shared[(row * 2) * channels + lane * 8 + i] = sum[i];
      shared[(row * 2 + 1) * channels + lane * 8 + i] = square[i];
    }
  __syncthreads();
  float* out = parts + ((long long)blockIdx.y * gridDim.x + blockIdx.x) * 2 * channels;
  for (int at = threadIdx.x; at < 2 * channels; at += blockDim.x) {
    float total = 0.0f;
    for (int r = 0; r < rows; r++) total += shared[r * 2 * channels + at];
    out[at] = total;
  }
}

// Grid (channels / 32, items), block (32, 8): parts to scale and offset [item, 2, channel].
extern "C" __global__ void norm_moments(const u16* x, const float* parts, const float* weight,
    const float* bias, float* out, int channels, int positions, int tiles, double eps) {
  __shared__ float shared[2][8][32];
  int channel = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.0f, square = 0.0f;
  if (channel < channels)
    for (int tile = threadIdx.y; tile < tiles; tile += 8) {
      const float* part = parts + ((long long)blockIdx.y * tiles + tile) * 2 * channels;
      sum += part[channel];
      square += part[channels + channel];
    }
  shared[0][threadIdx.y][threadIdx.x] = sum;
  shared[1][threadIdx.y][threadIdx.x] = square;
  __syncthreads();
  if (threadIdx.y || channel >= channels) return;
  sum = square = 0.0f;
  for (int i = 0; i < 8; i++) {
    sum += shared[0][i][threadIdx.x];
    square += shared[1][i][threadIdx.x];
  }
  float mean = sum / positions;
  float variance = fmaxf(square / positions - mean * mean, 0.0f);
  mean += low((u32)x[(long long)blockIdx.y * positions * channels + channel]);
  float scale = weight[channel] * rsqrtf(variance + (float)eps);
  out[(long long)blockIdx.y * 2 * channels + channel] = scale;
  out[((long long)blockIdx.y * 2 + 1) * channels + channel] = bias[channel] - mean * scale;
}

// Grid (tiles, items): y = gelu(x * scale + offset).
extern "C" __global__ void norm_gelu(const uint4* x, const float* moments, uint4* y, int channels,
    int positions, int tile) {
  int lanes = channels / 8, rows = blockDim.x / lanes;
  int lane = threadIdx.x % lanes, row = threadIdx.x / lanes;
  if (row >= rows) return;
  const float* own = moments + (long long)blockIdx.y * 2 * channels + lane * 8;
  float scale[8], offset[8];
  for (int i = 0; i < 8; i++) {
    scale[i] = own[i];
    offset[i] = own[channels + i];
  }
  long long start = (long long)blockIdx.y * positions * lanes + lane;
  int end = min(positions, (int)(blockIdx.x + 1) * tile);
#pragma unroll 4
  for (int at = blockIdx.x * tile + row; at < end; at += rows) {
    long long place = start + (long long)at * lanes;
    float value[8];
    unpack(x[place], value);
    for (int i = 0; i < 8; i++) value[i] = gelu(fmaf(value[i], scale[i], offset[i]));
    uint4 out;
    out.x = both(value[0], value[1]);
    out.y = both(value[2], value[3]);
    out.z = both(value[4], value[5]);
    out.w = both(value[6], value[7]);
    y[place] = out;
  }
}
"""
HALVES = {
    torch.float16: {
        "LOW": 'float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"((u16)pair)); return f;',
        "HIGH": 'float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"((u16)(pair >> 16))); return f;',
        "BOTH": "u16 l, h;"
        ' asm("cvt.rn.f16.f32 %0, %1;" : "=h"(l) : "f"(a));'
        ' asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(b));'
        " return (u32)l | (u32)h << 16;",
    },
    torch.bfloat16: {
        "LOW": "return __uint_as_float(pair << 16);",
        "HIGH": "return __uint_as_float(pair & 0xffff0000u);",
        "BOTH": "u16 l, h;"
        ' asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(l) : "f"(a));'
        ' asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(b));'
        " return (u32)l | (u32)h << 16;",
    },
}
NAMES = ("norm_sums", "norm_moments", "norm_gelu")

log = logging.getLogger(__name__)
_LOCK = threading.Lock()
_USED: set[torch.device] = set()


def norm_gelu(x: Tensor, norm: nn.InstanceNorm2d) -> Tensor | None:
    """[B, C, T, F] in channels-last order to gelu(norm(x)); None where that cannot be done."""
    channels = x.shape[1]
    if (
        x.dtype not in HALVES
        or not x.is_cuda
        or channels % VECTOR
        or channels > MOST_CHANNELS
        or not x.is_contiguous(memory_format=torch.channels_last)
    ):
        return None
    with _LOCK:
        kernels = _kernels(x.device, x.dtype)
    if kernels is None:
        return None
    _USED.add(x.device)
    return _norm_gelu(kernels, x, norm)


def _norm_gelu(kernels: dict[str, Any], x: Tensor, norm: nn.InstanceNorm2d) -> Tensor:
    items, channels, height, width = x.shape
    positions = height * width
    lanes = channels // VECTOR
    rows = THREADS // lanes
    threads = lanes * rows
    tile = max(rows * POSITIONS, -(-positions // MOST_TILES))
    tiles = -(-positions // tile)
    parts = torch.empty(items, tiles, 2, channels, device=x.device)
    moments = torch.empty(items, 2, channels, device=x.device)
    y = torch.empty_like(x)
    stream = torch.cuda.current_stream(x.device)
    kernels["norm_sums"](
        grid=(tiles, items, 1),
        block=(threads, 1, 1),
        args=[x, parts, channels, positions, tile],
        shared_mem=rows * 2 * channels * 4,
        stream=stream,
    )
    kernels["norm_moments"](
        grid=(-(-channels // 32), items, 1),
        block=(32, 8, 1),
        args=[x, parts, norm.weight, norm.bias, moments, channels, positions, tiles, norm.eps],
        stream=stream,
    )
    tile = rows * POSITIONS
    kernels["norm_gelu"](
        grid=(-(-positions // tile), items, 1),
        block=(threads, 1, 1),
        args=[x, moments, y, channels, positions, tile],
        stream=stream,
    )
    return y


def is_used() -> bool:
    """Say whether kernels of ours have run in this process."""
    return bool(_USED)


@cache
def _kernels(device: torch.device, dtype: torch.dtype) -> dict[str, Any] | None:
    """Return the kernels, proved on the device; None where they cannot be made or are wrong."""
    try:
        with torch.cuda.device(device):
            kernels = _loaded(dtype)
            error = _error(kernels, device, dtype)
    except Exception as fault:  # noqa: BLE001 (torch's private ways may be missing or changed)
        log.info("no kernels of our own on %s: %s", device, fault)
        return None
    if not error <= ERROR * torch.finfo(dtype).eps:  # also for what is no number
        log.warning("our kernels are wrong by %.1e on %s: not used", error, device)
        return None
    return kernels


def _error(kernels: dict[str, Any], device: torch.device, dtype: torch.dtype) -> float:
    """Return how far fresh random input comes out from torch's in float32, of the largest value."""
    worst = 0.0
    for channels, height, width in ((128, 37, 64), (40, 16, 9), (768, 8, 8)):
        norm = torch.nn.InstanceNorm2d(channels, affine=True, device=device)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        x = torch.randn(2, channels, height, width, device=device) + 3
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            true = torch.nn.functional.gelu(norm(x.float()))
            found = _norm_gelu(kernels, x, norm).float()
        worst = max(worst, float((found - true).abs().max() / true.abs().max()))
    return worst


def _loaded(dtype: torch.dtype) -> dict[str, Any]:
    """Return the kernels for the current device, from the user's cache where they are."""
    from torch.cuda import _utils as torchs  # noqa: PLC0415 (private: it may not be there)

    source = SOURCE
    for name, body in HALVES[dtype].items():
        source = source.replace(f"{{ {name} }}", f"{{ {body} }}")
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    target = f"sm_{properties.major}{properties.minor}"
    key = hashlib.sha256(f"{torch.version.cuda} {target} {source}".encode()).hexdigest()
    path = caches.folder()
    kept = path / f"kernels-{key[:16]}" if path else None
    load: Any = torchs._cuda_load_module  # noqa: SLF001
    if kept is not None:
        with contextlib.suppress(OSError, RuntimeError):
            return dict(load(kept.read_bytes(), list(NAMES)))
    binary = _compiled(torchs._get_gpu_rtc_library(), source, target)  # noqa: SLF001
    caches.write(kept, binary)
    return dict(load(binary, list(NAMES)))


def _compiled(nvrtc: Any, source: str, target: str) -> bytes:  # noqa: ANN401 (a library)
    program = ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"sep.cu", 0, None, None)
    )
    options = (ctypes.c_char_p * 1)(f"-arch={target}".encode())
    failed = nvrtc.nvrtcCompileProgram(program, len(options), options)
    size = ctypes.c_size_t()
    if failed:
        _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        told = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetProgramLog(program, told))
        raise RuntimeError(told.value.decode(errors="replace"))
    _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
    binary = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetCUBIN(program, binary))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return binary.raw


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"NVRTC says {status}")
