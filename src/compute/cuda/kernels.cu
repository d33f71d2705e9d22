// The parts of a Llama layer that candle has no kernels for, or several where one does.
//
// Decode on a fast GPU waits for launches as much as for memory. With these, one token takes at most
// 10 launches a layer: add_norm, the products of Q and K together and of V, attend, combine, the
// output's product, add_norm, gate and up together, gate, down. What precedes a product with a
// quantized matrix quantizes its result for it (q8).
//
// In a kernel's name, the first type is that of activations, the second that of the KV cache.
// Everything is computed in float. Positions are read from device memory, so that a step's launches
// are the same for every token.

#include "attention.cuh"
#include "choice.cuh"
#include "prefill.cuh"
#include "rows.cuh"

#define ADD_NORM(T, NAME, O)                                                                     \
  extern "C" __global__ void __launch_bounds__(1024)                                             \
      add_norm_##NAME(const T *hidden, const T *delta, const T *weight, T *sum, O *normed,       \
                      int columns, float epsilon) {                                              \
    add_norm<T, O>(hidden, delta, weight, sum, normed, columns, epsilon);                        \
  }                                                                                              \
  extern "C" __global__ void __launch_bounds__(256)                                              \
      gate_##NAME(const T *both, O *out, int columns) {                                          \
    gate<T, O>(both, out, columns);                                                              \
  }
ADD_NORM(float, float, float)
ADD_NORM(__half, half, __half)
ADD_NORM(bf16, bf16, bf16)
ADD_NORM(float, q8, Q8)

#define ROPE_APPEND(T, C, NAME)                                                                  \
  extern "C" __global__ void __launch_bounds__(512) rope_append_##NAME(                          \
      const T *q, const T *k, const T *v, int q_row, int k_row, int v_row, const float *cos,     \
      const float *sin, T *rotated, C *k_cache, C *v_cache, const unsigned *position, int heads, \
      int dim, int context, int interleaved, float scale) {                                      \
    rope_append<T, C>({q, q_row}, {k, k_row}, {v, v_row}, {cos, sin}, rotated, k_cache, v_cache, \
                      position, heads, dim, context, interleaved, scale);                        \
  }

#define ATTEND(T, C, NAME, DIM, ROWS)                                                            \
  extern "C" __global__ void __launch_bounds__(ATTEND_THREADS, 2) attend_##NAME##_##DIM##_##ROWS(\
      const T *q, const T *k, const T *v, int q_row, int k_row, int v_row, const float *cos,     \
      const float *sin, C *k_cache, C *v_cache, float *mixed, float *weights,                    \
      const unsigned *position, int tokens, int group, int context, int interleaved,             \
      float scale) {                                                                             \
    attend<T, C, DIM, ROWS>({q, q_row}, {k, k_row}, {v, v_row}, {cos, sin}, k_cache, v_cache,    \
                            mixed, weights, position, tokens, group, context, interleaved,       \
                            scale * LOG2_E);                                                     \
  }

#define CACHED(T, C, NAME)                                                                       \
  ROPE_APPEND(T, C, NAME)                                                                        \
  ATTEND(T, C, NAME, 64, 1)                                                                      \
  ATTEND(T, C, NAME, 64, 4)                                                                      \
  ATTEND(T, C, NAME, 64, 8)                                                                      \
  ATTEND(T, C, NAME, 128, 1)                                                                     \
  ATTEND(T, C, NAME, 128, 4)                                                                     \
  ATTEND(T, C, NAME, 128, 8)
CACHED(float, float, float_float)
CACHED(float, __half, float_half)
CACHED(__half, __half, half_half)
CACHED(bf16, bf16, bf16_bf16)

#define PREFILL(T, NAME, DIM)                                                                    \
  extern "C" __global__ void __launch_bounds__(ATTEND_THREADS, 2) prefill_##NAME##_##DIM(        \
      const T *q, const __half *k_cache, const __half *v_cache, T *out,                          \
      const unsigned *position, int tokens, int group, int context) {                            \
    prefill<T, DIM>(q, k_cache, v_cache, out, position, tokens, group, context);                 \
  }
PREFILL(float, float_half, 64)
PREFILL(float, float_half, 128)
PREFILL(__half, half_half, 64)
PREFILL(__half, half_half, 128)

#define COMBINE(O, NAME)                                                                         \
  extern "C" __global__ void __launch_bounds__(128)                                              \
      combine_##NAME(const float *mixed, const float *weights, const unsigned *position, O *out, \
                     int group, int splits) {                                                    \
    combine<O>(mixed, weights, position, out, group, splits);                                    \
  }
COMBINE(float, float)
COMBINE(__half, half)
COMBINE(bf16, bf16)
COMBINE(Q8, q8)

extern "C" __global__ void __launch_bounds__(CHOICE_THREADS)
    choose(float *logits, int vocabulary, BY_VALUE Recent recent, float penalty, Choice *out) {
  most_likely(logits, vocabulary, recent, penalty, out);
}
