"""Kernels for NVIDIA GPUs, compiled by the NVRTC that comes with torch: no compiler is needed.

In half precision between float32 sums and products, eight values at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
from typing import Any

import torch

from sep_runtime.accel import caches

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

// y[item, row, head, token] = pairs (m, m + d / 2) of x turned by the angles of the token; x has
// strides, and d = 16 lanes values in a row.
extern "C" __global__ void turned(const u16* x, const float* cosine, const float* sine, uint4* y,
    int lanes, int heads, int tokens, int rows, int items, int by_item, int by_row, int by_head,
    int by_token) {
  int total = lanes * heads * tokens * rows * items;
  for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < total; at += gridDim.x * blockDim.x) {
    int lane = at % lanes, rest = at / lanes;
    int head = rest % heads; rest /= heads;
    int token = rest % tokens; rest /= tokens;
    int row = rest % rows, item = rest / rows;
    const uint4* from = (const uint4*)(x + (long long)item * by_item + (long long)row * by_row
        + (long long)head * by_head + (long long)token * by_token);
    float a[8], b[8];
    unpack(from[lane], a);
    unpack(from[lanes + lane], b);
    const float* c = cosine + (token * lanes + lane) * 8;
    const float* s = sine + (token * lanes + lane) * 8;
    for (int i = 0; i < 8; i++) {
      float turned = a[i] * c[i] - b[i] * s[i];
      b[i] = b[i] * c[i] + a[i] * s[i];
      a[i] = turned;
    }
    uint4* to = y + ((((long long)item * rows + row) * heads + head) * tokens + token) * 2 * lanes;
    uint4 out;
    out.x = both(a[0], a[1]); out.y = both(a[2], a[3]);
    out.z = both(a[4], a[5]); out.w = both(a[6], a[7]);
    to[lane] = out;
    out.x = both(b[0], b[1]); out.y = both(b[2], b[3]);
    out.z = both(b[4], b[5]); out.w = both(b[6], b[7]);
    to[lanes + lane] = out;
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
NAMES = ("norm_sums", "norm_moments", "norm_gelu", "turned")


def loaded(dtype: torch.dtype) -> dict[str, Any]:
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
