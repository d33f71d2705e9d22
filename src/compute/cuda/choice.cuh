// The greedy choice of a token.

#pragma once
#include "common.cuh"

#define CHOICE_THREADS 1024
#define MOST_RECENT 64

struct Recent {
  unsigned count, ids[MOST_RECENT];
};

// A token and its logit, -infinity if no logit is a finite number.
struct Choice {
  unsigned id;
  float logit;

  // The higher one; of equal ones, the first in the vocabulary.
  __device__ void take(Choice other) {
    if (other.logit > logit || (other.logit == logit && other.id < id)) *this = other;
  }
  __device__ void see(unsigned at, float x) {
    if (x > logit && x < INFINITY) *this = {at, x};
  }
};

// Lowers the logits of recent tokens, each once, in place; then writes the most likely token.
// One block; logits begin at a multiple of 16 bytes.
__device__ static void most_likely(float *logits, int vocabulary, const Recent &recent, float penalty,
                                   Choice *out) {
  SHARED(unsigned, ids, CHOICE_THREADS / WARP);
  SHARED(float, values, CHOICE_THREADS / WARP);
  const int thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
  if (thread < (int)recent.count) {
    const unsigned id = recent.ids[thread];
    bool first = id < (unsigned)vocabulary;
    for (int i = 0; i < thread; i++) first = first && recent.ids[i] != id;
    if (first) logits[id] = logits[id] > 0.f ? logits[id] / penalty : logits[id] * penalty;
  }
  __syncthreads();
  Choice best = {0, -INFINITY};
  const int fours = vocabulary / 4;
  for (int i = thread; i < fours; i += CHOICE_THREADS) {
    const float4 four = ((const float4 *)logits)[i];
    best.see(4 * i, four.x);
    best.see(4 * i + 1, four.y);
    best.see(4 * i + 2, four.z);
    best.see(4 * i + 3, four.w);
  }
  for (int i = 4 * fours + thread; i < vocabulary; i += CHOICE_THREADS) best.see(i, logits[i]);
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2)
    best.take({__shfl_xor_sync(ALL, best.id, step), __shfl_xor_sync(ALL, best.logit, step)});
  if (lane == 0) {
    ids[warp] = best.id;
    values[warp] = best.logit;
  }
  __syncthreads();
  if (thread > 0) return;
  for (int i = 1; i < CHOICE_THREADS / WARP; i++) best.take({ids[i], values[i]});
  *out = best;
}
