// Attention of many tokens, on tensor cores.

#pragma once
#include "attention.cuh"

// d += a * b for tiles of halves, a: [16, 8], b: [8, 8], d: [16, 8] in float, spread over a warp.
// Lane 4 g + t has of a the columns 2t, 2t + 1 of row g (a0) and of row g + 8 (a1); of b the rows
// 2t, 2t + 1 of column g; of d the columns 2t, 2t + 1 of row g (0, 1) and of row g + 8 (2, 3). So
// d, rounded to halves, is an a. (PTX ISA, "Matrix Fragments for mma.m16n8k8".)
#ifndef EMULATED
__device__ static inline void multiply(float (&d)[4], unsigned a0, unsigned a1, unsigned b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b));
}
#endif

__device__ static inline unsigned pack(__half low, __half high) {
  return __half_as_ushort(low) | (unsigned)__half_as_ushort(high) << 16;
}
__device__ static inline unsigned pack(float low, float high) {
  return pack(__float2half(low), __float2half(high));
}

// Rows of queries that a warp works on, and a block; keys that it takes at once.
#define WARP_ROWS 16
#define BLOCK_ROWS (ATTEND_WARPS * WARP_ROWS)
#define TILE 64

// Causal attention of tokens from *position on, whose keys and values are in the cache already (Dao
// 2023, "FlashAttention-2"). Each block works on rows of one KV head: row = token * group + member of
// the query heads that share it.
// q: [heads, tokens, DIM], scaled. out: [tokens, heads * DIM].
// Grid: kv_heads x rows / BLOCK_ROWS, rounded up; ATTEND_THREADS threads.
template <typename T, int DIM>
__device__ static void prefill(const T *q, const __half *k_cache, const __half *v_cache, T *out,
                               const unsigned *position, int tokens, int group, int context) {
  constexpr int STEPS = DIM / 8, K_ROW = (DIM + 8) / 2, V_ROW = DIM + 8;
  // Words of two halves: neighbours in a key; the same column of neighbouring values. 8 more of them
  // than DIM in a row, so that a warp's reads fall into 32 different banks.
  SHARED(unsigned, k_tile, TILE * K_ROW);
  SHARED(unsigned, v_tile, TILE / 2 * V_ROW);
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, t = lane % 4;
  const int past = *position, rows = tokens * group, kv_head = blockIdx.x, heads = gridDim.x * group;
  const int top = blockIdx.y * BLOCK_ROWS, last_row = min(top + BLOCK_ROWS, rows) - 1;
  const int keys = past + last_row / group + 1;
  const size_t start = (size_t)kv_head * context * DIM;

  // A lane has two rows, each with the last key that it sees.
  int row[2], limit[2];
  unsigned query[STEPS][2];
#pragma unroll
  for (int side = 0; side < 2; side++) {
    row[side] = top + warp * WARP_ROWS + g + 8 * side;
    const int token = min(row[side], last_row) / group, head = kv_head * group + min(row[side], last_row) % group;
    limit[side] = past + token;
    const T *from = q + ((size_t)head * tokens + token) * DIM + 2 * t;
#pragma unroll
    for (int step = 0; step < STEPS; step++)
      query[step][side] = pack(wide(from[step * 8]) * LOG2_E, wide(from[step * 8 + 1]) * LOG2_E);
  }

  float mixed[STEPS][4], largest[2] = {NO_SCORE, NO_SCORE}, sum[2] = {0.f, 0.f};
#pragma unroll
  for (int step = 0; step < STEPS; step++)
#pragma unroll
    for (int i = 0; i < 4; i++) mixed[step][i] = 0.f;

  for (int first = 0; first < keys; first += TILE) {
    // Everyone has read the last tile.
    __syncthreads();
    // Two keys and two values, 8 columns of each. Past the end, zeros: what has no weight must not be
    // infinite either.
    for (int i = threadIdx.x; i < TILE / 2 * STEPS; i += ATTEND_THREADS) {
      const int pair = i / STEPS, column = i % STEPS * 8;
      uint4 k[2] = {}, v[2] = {};
#pragma unroll
      for (int j = 0; j < 2; j++)
        if (first + 2 * pair + j < keys) {
          const size_t at = start + (size_t)(first + 2 * pair + j) * DIM + column;
          k[j] = *(const uint4 *)(k_cache + at);
          v[j] = *(const uint4 *)(v_cache + at);
        }
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int to = (2 * pair + j) * K_ROW + column / 2;
        k_tile[to] = k[j].x;
        k_tile[to + 1] = k[j].y;
        k_tile[to + 2] = k[j].z;
        k_tile[to + 3] = k[j].w;
      }
      const unsigned a[4] = {v[0].x, v[0].y, v[0].z, v[0].w}, b[4] = {v[1].x, v[1].y, v[1].z, v[1].w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        v_tile[pair * V_ROW + column + 2 * j] = (a[j] & 0xffff) | b[j] << 16;
        v_tile[pair * V_ROW + column + 2 * j + 1] = a[j] >> 16 | (b[j] & 0xffff0000u);
      }
    }
    __syncthreads();

    float score[TILE / 8][4];
#pragma unroll
    for (int eight = 0; eight < TILE / 8; eight++) {
#pragma unroll
      for (int i = 0; i < 4; i++) score[eight][i] = 0.f;
#pragma unroll
      for (int step = 0; step < STEPS; step++)
        multiply(score[eight], query[step][0], query[step][1],
                 k_tile[(eight * 8 + g) * K_ROW + step * 4 + t]);
    }
#pragma unroll
    for (int side = 0; side < 2; side++) {
      float most = largest[side];
#pragma unroll
      for (int eight = 0; eight < TILE / 8; eight++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float &x = score[eight][2 * side + i];
          if (first + eight * 8 + 2 * t + i > limit[side]) x = -INFINITY;
          most = fmaxf(most, x);
        }
      most = fmaxf(most, __shfl_xor_sync(ALL, most, 1));
      most = fmaxf(most, __shfl_xor_sync(ALL, most, 2));
      const float before = exp2f(largest[side] - most);
      largest[side] = most;
      sum[side] *= before;
#pragma unroll
      for (int step = 0; step < STEPS; step++) {
        mixed[step][2 * side] *= before;
        mixed[step][2 * side + 1] *= before;
      }
#pragma unroll
      for (int eight = 0; eight < TILE / 8; eight++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
          float &x = score[eight][2 * side + i];
          x = exp2f(x - most);
          sum[side] += x;
        }
    }
#pragma unroll
    for (int eight = 0; eight < TILE / 8; eight++) {
      const unsigned a0 = pack(score[eight][0], score[eight][1]);
      const unsigned a1 = pack(score[eight][2], score[eight][3]);
#pragma unroll
      for (int step = 0; step < STEPS; step++)
        multiply(mixed[step], a0, a1, v_tile[(eight * 4 + t) * V_ROW + step * 8 + g]);
    }
  }

#pragma unroll
  for (int side = 0; side < 2; side++) {
    sum[side] += __shfl_xor_sync(ALL, sum[side], 1);
    sum[side] += __shfl_xor_sync(ALL, sum[side], 2);
    if (row[side] > last_row) continue;
    const int token = row[side] / group, head = kv_head * group + row[side] % group;
    T *to = out + ((size_t)token * heads + head) * DIM + 2 * t;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
      to[step * 8] = narrow<T>(mixed[step][2 * side] / sum[side]);
      to[step * 8 + 1] = narrow<T>(mixed[step][2 * side + 1] / sum[side]);
    }
  }
}
