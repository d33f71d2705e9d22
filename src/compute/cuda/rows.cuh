// Between the products: norms and gates, row by row.

#pragma once
#include "common.cuh"

// sum = hidden + delta, normed = sum / sqrt(mean(sum^2) + epsilon) * weight, for each row of
// `columns`. Without delta (null), the row itself is normed, and sum is left alone.
// One block a row; a multiple of 32 threads, at most 1024.
template <typename T, typename O>
__device__ static void add_norm(const T *hidden, const T *delta, const T *weight, T *sum, O *normed,
                                int columns, float epsilon) {
  SHARED(float, partial, WARP);
  const size_t row = (size_t)blockIdx.x * columns;
  const T *kept = delta ? sum : hidden;
  float squares = 0.f;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    if (delta) sum[row + i] = narrow<T>(wide(hidden[row + i]) + wide(delta[row + i]));
    const float x = wide(kept[row + i]);
    squares += x * x;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = squares;
  __syncthreads();
  float all = 0.f;
  for (int warp = 0; warp < (int)blockDim.x / WARP; warp++) all += partial[warp];
  const float scale = rsqrtf(all / columns + epsilon);
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    store(normed, row + i, wide(kept[row + i]) * scale * wide(weight[i]));
}

// silu(first half) * second half of each row: both: [rows, 2 * columns], out: [rows, columns].
// Grid: columns / threads, rounded up, x rows.
template <typename T, typename O>
__device__ static void gate(const T *both, O *out, int columns) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= columns) return;
  const T *row = both + (size_t)blockIdx.y * 2 * columns;
  const float x = wide(row[i]), up = wide(row[columns + i]);
  store(out, (size_t)blockIdx.y * columns + i, x / (1.f + expf(-x)) * up);
}
