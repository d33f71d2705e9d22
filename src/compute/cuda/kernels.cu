// The parts of a Llama layer that candle has no kernels for, or several where one does.
//
// Decode on a fast GPU waits for launches as much as for memory. With these, one token takes 15
// launches a layer: add_norm, the products of Q and K together (quantize, multiply) and of V,
// rope_append, attend_one, the output's product, add_norm, gate and up together, gate, down.
//
// T is the type of activations, C that of the KV cache. Everything is computed in float.

#ifndef EMULATED
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

typedef __nv_bfloat16 bf16;

__device__ static inline float wide(float x) { return x; }
__device__ static inline float wide(__half x) { return __half2float(x); }
__device__ static inline float wide(bf16 x) { return __bfloat162float(x); }

template <typename T> __device__ static inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x) { return x; }
template <> __device__ inline __half narrow<__half>(float x) { return __float2half(x); }
template <> __device__ inline bf16 narrow<bf16>(float x) { return __float2bfloat16(x); }

#define WARP 32
#define ALL 0xffffffffu

__device__ static inline float warp_sum(float x) {
  for (int step = WARP / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL, x, step);
  return x;
}

// sum = hidden + delta, normed = sum / sqrt(mean(sum^2) + epsilon) * weight, for each row of
// `columns`. One block a row; a multiple of 32 threads, at most 1024.
template <typename T>
__device__ static void add_norm(const T *hidden, const T *delta, const T *weight, T *sum,
                                T *normed, int columns, float epsilon) {
  __shared__ float partial[WARP];
  const size_t row = (size_t)blockIdx.x * columns;
  float squares = 0.f;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    const T kept = narrow<T>(wide(hidden[row + i]) + wide(delta[row + i]));
    sum[row + i] = kept;
    squares += wide(kept) * wide(kept);
  }
  squares = warp_sum(squares);
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = squares;
  __syncthreads();
  float all = 0.f;
  for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) all += partial[warp];
  const float scale = rsqrtf(all / columns + epsilon);
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    normed[row + i] = narrow<T>(wide(sum[row + i]) * scale * wide(weight[i]));
}

// Rotates queries (times `scale`) and keys, and writes keys and values into the cache.
// q, k, v: the token's rows are q_row, k_row, v_row values apart. cos, sin: [context, dim / 2].
// rotated: [heads, tokens, dim]. k_cache, v_cache: [kv_heads, context, dim].
// Grid: tokens x (heads + 2 kv_heads); dim / 2 threads.
template <typename T, typename C>
__device__ static void rope_append(const T *q, const T *k, const T *v, int q_row, int k_row,
                                   int v_row, const float *cos, const float *sin, T *rotated,
                                   C *k_cache, C *v_cache, int heads, int kv_heads, int dim,
                                   int position, int context, int interleaved, float scale) {
  const int token = blockIdx.x, pair = threadIdx.x, half = dim / 2, tokens = gridDim.x;
  const int a = interleaved ? 2 * pair : pair, b = interleaved ? 2 * pair + 1 : pair + half;
  const size_t angle = (size_t)(position + token) * half + pair;
  int head = blockIdx.y;
  if (head < heads) {
    const T *from = q + (size_t)token * q_row + (size_t)head * dim;
    T *to = rotated + ((size_t)head * tokens + token) * dim;
    const float x = wide(from[a]), y = wide(from[b]), c = cos[angle], s = sin[angle];
    to[a] = narrow<T>((x * c - y * s) * scale);
    to[b] = narrow<T>((x * s + y * c) * scale);
    return;
  }
  head -= heads;
  const bool key = head < kv_heads;
  if (!key) head -= kv_heads;
  const size_t at = ((size_t)head * context + position + token) * dim;
  if (key) {
    const T *from = k + (size_t)token * k_row + (size_t)head * dim;
    const float x = wide(from[a]), y = wide(from[b]), c = cos[angle], s = sin[angle];
    k_cache[at + a] = narrow<C>(x * c - y * s);
    k_cache[at + b] = narrow<C>(x * s + y * c);
  } else {
    const T *from = v + (size_t)token * v_row + (size_t)head * dim;
    v_cache[at + a] = narrow<C>(wide(from[a]));
    v_cache[at + b] = narrow<C>(wide(from[b]));
  }
}

// One query position over the first `keys` keys: q, out: [heads, dim], q already scaled. One block
// a head; its warps take four keys in turns and keep a running maximum and sum each (Dao et al.
// 2022); lane i has values i * EACH .. of a head of 32 * EACH.
#define MOST_WARPS 16
#define KEYS 4
template <typename T, typename C, int EACH>
__device__ static void attend_one(const T *q, const C *k, const C *v, T *out, int group,
                                  int keys, int context) {
  const int dim = WARP * EACH, head = blockIdx.x;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
  const size_t start = (size_t)(head / group) * context * dim;
  float query[EACH], mixed[EACH], largest = -1e30f, sum = 0.f;
  for (int i = 0; i < EACH; i++) {
    query[i] = wide(q[(size_t)head * dim + lane * EACH + i]);
    mixed[i] = 0.f;
  }
  for (int first = warp * KEYS; first < keys; first += warps * KEYS) {
    float score[KEYS];
    for (int j = 0; j < KEYS; j++) {
      score[j] = 0.f;
      if (first + j < keys) {
        const C *key = k + start + (size_t)(first + j) * dim + lane * EACH;
        for (int i = 0; i < EACH; i++) score[j] += query[i] * wide(key[i]);
      }
      score[j] = warp_sum(score[j]);
    }
    float most = largest;
    for (int j = 0; j < KEYS; j++)
      if (first + j < keys) most = fmaxf(most, score[j]);
    const float before = expf(largest - most);
    largest = most;
    sum *= before;
    for (int i = 0; i < EACH; i++) mixed[i] *= before;
    for (int j = 0; j < KEYS; j++) {
      if (first + j >= keys) break;
      const float weight = expf(score[j] - largest);
      const C *value = v + start + (size_t)(first + j) * dim + lane * EACH;
      sum += weight;
      for (int i = 0; i < EACH; i++) mixed[i] += weight * wide(value[i]);
    }
  }
  __shared__ float all_largest[MOST_WARPS], all_sum[MOST_WARPS];
  __shared__ float all_mixed[MOST_WARPS][WARP * EACH];
  if (lane == 0) {
    all_largest[warp] = largest;
    all_sum[warp] = sum;
  }
  for (int i = 0; i < EACH; i++) all_mixed[warp][lane * EACH + i] = mixed[i];
  __syncthreads();
  for (int i = threadIdx.x; i < dim; i += blockDim.x) {
    float most = all_largest[0], total = 0.f, value = 0.f;
    for (int w = 1; w < warps; w++) most = fmaxf(most, all_largest[w]);
    for (int w = 0; w < warps; w++) {
      const float weight = expf(all_largest[w] - most);
      total += all_sum[w] * weight;
      value += all_mixed[w][i] * weight;
    }
    out[(size_t)head * dim + i] = narrow<T>(value / total);
  }
}

// silu(first half) * second half of each row: both: [rows, 2 * columns], out: [rows, columns].
template <typename T>
__device__ static void gate(const T *both, T *out, int columns, size_t count) {
  const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const size_t row = i / columns, column = i % columns;
  const float x = wide(both[row * 2 * columns + column]);
  const float up = wide(both[row * 2 * columns + columns + column]);
  out[i] = narrow<T>(x / (1.f + expf(-x)) * up);
}

#define ADD_NORM(T)                                                                              \
  extern "C" __global__ void add_norm_##T(const T *hidden, const T *delta, const T *weight,     \
                                          T *sum, T *normed, int columns, float epsilon) {      \
    add_norm<T>(hidden, delta, weight, sum, normed, columns, epsilon);                           \
  }                                                                                              \
  extern "C" __global__ void gate_##T(const T *both, T *out, int columns, size_t count) {        \
    gate<T>(both, out, columns, count);                                                          \
  }
ADD_NORM(float)
ADD_NORM(bf16)

#define ROPE_APPEND(T, C)                                                                        \
  extern "C" __global__ void rope_append_##T##_##C(                                              \
      const T *q, const T *k, const T *v, int q_row, int k_row, int v_row, const float *cos,     \
      const float *sin, T *rotated, C *k_cache, C *v_cache, int heads, int kv_heads, int dim,    \
      int position, int context, int interleaved, float scale) {                                 \
    rope_append<T, C>(q, k, v, q_row, k_row, v_row, cos, sin, rotated, k_cache, v_cache, heads,  \
                      kv_heads, dim, position, context, interleaved, scale);                     \
  }
ROPE_APPEND(float, float)
ROPE_APPEND(float, __half)
ROPE_APPEND(bf16, bf16)

#define ATTEND_ONE(T, C, EACH)                                                                   \
  extern "C" __global__ void attend_one_##T##_##C##_##EACH(                                      \
      const T *q, const C *k, const C *v, T *out, int group, int keys, int context) {            \
    attend_one<T, C, EACH>(q, k, v, out, group, keys, context);                                  \
  }
#define ATTEND_ONES(T, C) ATTEND_ONE(T, C, 1) ATTEND_ONE(T, C, 2) ATTEND_ONE(T, C, 3)            \
  ATTEND_ONE(T, C, 4)
ATTEND_ONES(float, float)
ATTEND_ONES(float, __half)
ATTEND_ONES(bf16, bf16)
