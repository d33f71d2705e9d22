// What all kernels share: number types, warp operations, and candle's form of quantized activations.
//
// `ci/emulate-kernels` compiles these files for the CPU too. There, SHARED is an array that reports
// accesses between which no barrier stands.

#pragma once

#ifndef EMULATED
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define SHARED(type, name, size) __shared__ __align__(16) type name[size]
// Before Volta, an array that is passed by value is copied before it is indexed.
#if __CUDA_ARCH__ >= 700
#define BY_VALUE const __grid_constant__
#else
#define BY_VALUE const
#endif
#endif

typedef __nv_bfloat16 bf16;

#define WARP 32
#define ALL 0xffffffffu

__device__ static inline float wide(float x) { return x; }
__device__ static inline float wide(__half x) { return __half2float(x); }
__device__ static inline float wide(bf16 x) { return __bfloat162float(x); }

template <typename T> __device__ static inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x) { return x; }
template <> __device__ inline __half narrow<__half>(float x) { return __float2half(x); }
template <> __device__ inline bf16 narrow<bf16>(float x) { return __float2bfloat16(x); }

__device__ static inline float warp_sum(float x) {
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL, x, step);
  return x;
}

__device__ static inline float warp_max(float x) {
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(ALL, x, step));
  return x;
}

// 32 neighbours of a row in 8 bits, as candle's products of a few rows with quantized matrices read
// them: `block_q8_1` of its mmvq_gguf.cu, and the same rounding.
struct Q8 {
  __half step, sum;
  signed char values[WARP];
};

// Where a kernel leaves a row's value i. All lanes of a warp store 32 neighbours, the first of which
// is a multiple of 32 in a row of Q8.
template <typename T> __device__ static inline void store(T *out, size_t i, float x) {
  out[i] = narrow<T>(x);
}

__device__ static inline void store(Q8 *out, size_t i, float x) {
  const float step = warp_max(fabsf(x)) / 127.f, sum = warp_sum(x);
  Q8 *block = out + i / WARP;
  block->values[i % WARP] = step == 0.f ? 0 : (signed char)roundf(x / step);
  if (i % WARP == 0) {
    block->step = __float2half(step);
    block->sum = __float2half(sum);
  }
}
