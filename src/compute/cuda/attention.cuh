// Rotation, the KV cache, and attention of a few tokens over it.

#pragma once
#include "common.cuh"

// How the two values of a rotated pair lie in a head.
struct Pair {
  int a, b;
  __device__ Pair(int pair, int dim, int interleaved)
      : a(interleaved ? 2 * pair : pair), b(interleaved ? 2 * pair + 1 : pair + dim / 2) {}
};

// The heads of one kind in the rows of a product's output: a token's are `row` values apart.
template <typename T> struct Heads {
  const T *first;
  int row;
  __device__ const T *at(int token, int head, int dim) const {
    return first + (size_t)token * row + (size_t)head * dim;
  }
};

// A token's angles: cos and sin are [context, dim / 2].
struct Angles {
  const float *cos, *sin;
  __device__ void turn(int position, int pair, int half, float &x, float &y) const {
    const float c = cos[(size_t)position * half + pair], s = sin[(size_t)position * half + pair];
    const float turned = x * c - y * s;
    y = x * s + y * c;
    x = turned;
  }
};

// Writes a pair of a key, rotated, and a pair of a value where the cache has that key.
template <typename T, typename C>
__device__ static inline void append(const T *k, const T *v, Angles angles, C *k_cache, C *v_cache,
                                     int position, int pair, int dim, int interleaved) {
  const Pair at(pair, dim, interleaved);
  float x = wide(k[at.a]), y = wide(k[at.b]);
  angles.turn(position, pair, dim / 2, x, y);
  k_cache[at.a] = narrow<C>(x);
  k_cache[at.b] = narrow<C>(y);
  v_cache[at.a] = narrow<C>(wide(v[at.a]));
  v_cache[at.b] = narrow<C>(wide(v[at.b]));
}

// Rotates queries (times `scale`) and keys, and writes keys and values into the cache, for the
// tokens from *position on.
// rotated: [heads, tokens, dim]. k_cache, v_cache: [kv_heads, context, dim].
// Grid: tokens x (heads + kv_heads); dim / 2 threads.
template <typename T, typename C>
__device__ static void rope_append(Heads<T> q, Heads<T> k, Heads<T> v, Angles angles, T *rotated,
                                   C *k_cache, C *v_cache, const unsigned *position, int heads,
                                   int dim, int context, int interleaved, float scale) {
  const int token = blockIdx.x, tokens = gridDim.x, pair = threadIdx.x, place = *position + token;
  int head = blockIdx.y;
  if (head < heads) {
    const Pair at(pair, dim, interleaved);
    const T *from = q.at(token, head, dim);
    T *to = rotated + ((size_t)head * tokens + token) * dim;
    float x = wide(from[at.a]), y = wide(from[at.b]);
    angles.turn(place, pair, dim / 2, x, y);
    to[at.a] = narrow<T>(x * scale);
    to[at.b] = narrow<T>(y * scale);
    return;
  }
  head -= heads;
  const size_t at = ((size_t)head * context + place) * dim;
  append(k.at(token, head, dim), v.at(token, head, dim), angles, k_cache + at, v_cache + at, place,
         pair, dim, interleaved);
}

// Attention of up to 8 tokens, from *position on, over all keys up to each (Dao et al. 2023,
// "Flash-Decoding"): every block takes the keys of one KV head in one of gridDim.y spans, for all
// query heads that share them, and leaves its largest score, the sum of its weights and their mix;
// `combine` puts the spans together, in their order, so that the result is the same in every run.
//
// The block whose span has a new token writes its key and value into the cache first, so decode
// needs no launch of rope_append. The grid does not depend on the number of keys: blocks without
// any return at once.
// Two blocks a multiprocessor, so that one loads while the other computes.
#define ATTEND_THREADS 128
#define ATTEND_WARPS (ATTEND_THREADS / WARP)
// Keys whose loads are under way at once in each team of lanes: fewer for 8 rows, whose sums take
// most registers.
#define KEYS (ROWS == 8 ? 2 : 4)
// A span is a multiple of this: enough work to outweigh that of combining, and all that a block's teams
// take at once, so that only the last span ends within what they take.
#define SPAN_STEP 64
// Below every score. Scores are times log2(e), for exp2f.
#define NO_SCORE -1e30f
#define LOG2_E 1.44269504f

__device__ static inline int span_of(int keys, int splits) {
  return ((keys + splits - 1) / splits + SPAN_STEP - 1) / SPAN_STEP * SPAN_STEP;
}

// The values of the cache in a word of 4 bytes.
template <typename C> __device__ static inline void unpack(unsigned word, float *to);
template <> __device__ inline void unpack<float>(unsigned word, float *to) {
  to[0] = __uint_as_float(word);
}
template <> __device__ inline void unpack<__half>(unsigned word, float *to) {
  to[0] = __half2float(__ushort_as_half((unsigned short)(word & 0xffff)));
  to[1] = __half2float(__ushort_as_half((unsigned short)(word >> 16)));
}
template <> __device__ inline void unpack<bf16>(unsigned word, float *to) {
  to[0] = __uint_as_float(word << 16);
  to[1] = __uint_as_float(word & 0xffff0000u);
}

template <typename C> __device__ static inline void unpack(const uint4 &words, float *to) {
  const int each = 4 / sizeof(C);
  unpack<C>(words.x, to);
  unpack<C>(words.y, to + each);
  unpack<C>(words.z, to + 2 * each);
  unpack<C>(words.w, to + 3 * each);
}

// What one team of lanes has seen of a span, for ROWS query rows: each lane mixes VALUES columns.
template <int ROWS, int VALUES> struct Seen {
  float largest[ROWS], sum[ROWS], mixed[ROWS][VALUES];

  __device__ Seen() {
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
      largest[row] = NO_SCORE;
      sum[row] = 0.f;
#pragma unroll
      for (int i = 0; i < VALUES; i++) mixed[row][i] = 0.f;
    }
  }

  // Scales what has been seen for a new largest score.
  __device__ void rescale(int row, float most) {
    const float before = exp2f(largest[row] - most);
    largest[row] = most;
    sum[row] *= before;
#pragma unroll
    for (int i = 0; i < VALUES; i++) mixed[row][i] *= before;
  }

  // Adds what the team has seen that is `step` lanes away.
  __device__ void join(int step) {
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
      const float other = __shfl_xor_sync(ALL, largest[row], step);
      const float most = fmaxf(largest[row], other), weight = exp2f(other - most);
      const float other_sum = __shfl_xor_sync(ALL, sum[row], step);
      float other_mixed[VALUES];
#pragma unroll
      for (int i = 0; i < VALUES; i++)
        other_mixed[i] = __shfl_xor_sync(ALL, mixed[row][i], step);
      rescale(row, most);
      sum[row] += other_sum * weight;
#pragma unroll
      for (int i = 0; i < VALUES; i++) mixed[row][i] += other_mixed[i] * weight;
    }
  }
};

// Scores the keys from `first` to `last` of one KV head, and mixes their values. query: [ROWS, DIM],
// in shared memory. Row r sees keys up to position limit[r]. Lanes work in teams, each of which
// covers a key with 16 bytes a lane; the block's teams take neighbouring keys.
template <typename C, int DIM, int ROWS, typename Query>
__device__ static inline void see(Seen<ROWS, 16 / sizeof(C)> &seen, const Query &query,
                                  const C *k_head, const C *v_head, int first, int last,
                                  const int (&limit)[ROWS]) {
  constexpr int VALUES = 16 / sizeof(C), LANES = DIM / VALUES, TEAMS = ATTEND_THREADS / LANES;
  static_assert(SPAN_STEP % (TEAMS * KEYS) == 0, "teams take whole spans");
  const int column = threadIdx.x % LANES * VALUES, team = threadIdx.x / LANES;
  for (int base = first; base < last; base += TEAMS * KEYS) {
    uint4 keys[KEYS], values[KEYS];
#pragma unroll
    for (int j = 0; j < KEYS; j++) {
      // Past the end, the last key once more, without weight.
      const int key = min(base + j * TEAMS + team, last - 1);
      const size_t at = (size_t)key * DIM + column;
      keys[j] = *(const uint4 *)(k_head + at);
      values[j] = *(const uint4 *)(v_head + at);
    }
    float score[ROWS][KEYS];
#pragma unroll
    for (int j = 0; j < KEYS; j++) {
      float key[VALUES];
      unpack<C>(keys[j], key);
#pragma unroll
      for (int row = 0; row < ROWS; row++) {
        score[row][j] = 0.f;
#pragma unroll
        for (int i = 0; i < VALUES; i++)
          score[row][j] += query[row * DIM + column + i] * key[i];
      }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
      float most = seen.largest[row];
#pragma unroll
      for (int j = 0; j < KEYS; j++) {
#pragma unroll
        for (int step = LANES / 2; step > 0; step /= 2)
          score[row][j] += __shfl_xor_sync(ALL, score[row][j], step);
        // This also leaves out what is past the end.
        if (base + j * TEAMS + team > limit[row]) score[row][j] = -INFINITY;
        most = fmaxf(most, score[row][j]);
      }
      seen.rescale(row, most);
#pragma unroll
      for (int j = 0; j < KEYS; j++) {
        score[row][j] = exp2f(score[row][j] - most);
        seen.sum[row] += score[row][j];
      }
    }
#pragma unroll
    for (int j = 0; j < KEYS; j++) {
      float value[VALUES];
      unpack<C>(values[j], value);
#pragma unroll
      for (int row = 0; row < ROWS; row++)
#pragma unroll
        for (int i = 0; i < VALUES; i++) seen.mixed[row][i] += score[row][j] * value[i];
    }
  }
#pragma unroll
  for (int step = LANES; step < WARP; step *= 2) seen.join(step);
}

// Grid: kv_heads x splits. A query row is a token's head among the `group` that share a KV head:
// row = token * group + member; they are taken ROWS at a time.
// mixed: [kv_heads, rows, splits, DIM]. weights: [kv_heads, rows, splits, 2], largest score and sum.
template <typename T, typename C, int DIM, int ROWS>
__device__ static void attend(Heads<T> q, Heads<T> k, Heads<T> v, Angles angles, C *k_cache,
                              C *v_cache, float *mixed, float *weights, const unsigned *position,
                              int tokens, int group, int context, int interleaved, float scale) {
  constexpr int VALUES = 16 / sizeof(C), LANES = DIM / VALUES, HALF = DIM / 2;
  SHARED(float, query, ROWS * DIM);
  SHARED(float, warp_largest, ATTEND_WARPS * ROWS);
  SHARED(float, warp_sum_of, ATTEND_WARPS * ROWS);
  SHARED(float, warp_mixed, ATTEND_WARPS * ROWS * DIM);
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, kv_head = blockIdx.x;
  const int past = *position, keys = past + tokens, rows = tokens * group;
  const int span = span_of(keys, gridDim.y), first = blockIdx.y * span;
  if (first >= keys) return;
  const int last = min(first + span, keys), fresh = max(first, past);
  C *const k_head = k_cache + (size_t)kv_head * context * DIM;
  C *const v_head = v_cache + (size_t)kv_head * context * DIM;

  for (int i = threadIdx.x; i < (last - fresh) * HALF; i += ATTEND_THREADS) {
    const int key = fresh + i / HALF, token = key - past;
    append(k.at(token, kv_head, DIM), v.at(token, kv_head, DIM), angles, k_head + (size_t)key * DIM,
           v_head + (size_t)key * DIM, key, i % HALF, DIM, interleaved);
  }

  for (int top = 0; top < rows; top += ROWS) {
    for (int i = threadIdx.x; i < ROWS * HALF; i += ATTEND_THREADS) {
      const int row = i / HALF, token = (top + row) / group;
      const Pair at(i % HALF, DIM, interleaved);
      float x = 0.f, y = 0.f;
      if (top + row < rows) {
        const T *from = q.at(token, kv_head * group + (top + row) % group, DIM);
        x = wide(from[at.a]), y = wide(from[at.b]);
        angles.turn(past + token, i % HALF, HALF, x, y);
      }
      query[row * DIM + at.a] = x * scale;
      query[row * DIM + at.b] = y * scale;
    }
    int limit[ROWS];
#pragma unroll
    for (int row = 0; row < ROWS; row++) limit[row] = past + (top + row) / group;
    // The queries, and the first time the appended keys and values, are there.
    __syncthreads();

    Seen<ROWS, VALUES> seen;
    see<C, DIM, ROWS>(seen, query, k_head, v_head, first, last, limit);
    if (lane < LANES) {
#pragma unroll
      for (int row = 0; row < ROWS; row++)
#pragma unroll
        for (int i = 0; i < VALUES; i++)
          warp_mixed[(warp * ROWS + row) * DIM + lane * VALUES + i] = seen.mixed[row][i];
    }
    if (lane == 0) {
#pragma unroll
      for (int row = 0; row < ROWS; row++) {
        warp_largest[warp * ROWS + row] = seen.largest[row];
        warp_sum_of[warp * ROWS + row] = seen.sum[row];
      }
    }
    __syncthreads();

    for (int i = threadIdx.x; i < min(ROWS, rows - top) * DIM; i += ATTEND_THREADS) {
      const int row = i / DIM;
      float most = NO_SCORE, sum = 0.f, mix = 0.f;
#pragma unroll
      for (int w = 0; w < ATTEND_WARPS; w++) most = fmaxf(most, warp_largest[w * ROWS + row]);
#pragma unroll
      for (int w = 0; w < ATTEND_WARPS; w++) {
        const float weight = exp2f(warp_largest[w * ROWS + row] - most);
        sum += warp_sum_of[w * ROWS + row] * weight;
        mix += warp_mixed[w * ROWS * DIM + i] * weight;
      }
      const size_t part = ((size_t)kv_head * rows + top + row) * gridDim.y + blockIdx.y;
      mixed[part * DIM + i % DIM] = mix;
      if (i % DIM == 0) {
        weights[part * 2] = most;
        weights[part * 2 + 1] = sum;
      }
    }
    // No barrier: what the next rows write before theirs is the queries, which nobody reads here.
  }
}

// Puts the spans of `attend` together. out: [tokens, heads * dim]. Grid: heads x tokens; dim threads.
template <typename O>
__device__ static void combine(const float *mixed, const float *weights, const unsigned *position,
                               O *out, int group, int splits) {
  const int dim = blockDim.x, head = blockIdx.x, token = blockIdx.y, tokens = gridDim.y;
  const int keys = *position + tokens, span = span_of(keys, splits), spans = (keys + span - 1) / span;
  const size_t row = (size_t)(head / group * tokens + token) * group + head % group;
  mixed += row * splits * dim;
  weights += row * splits * 2;
  float most = NO_SCORE, sum = 0.f, mix = 0.f;
  for (int i = 0; i < spans; i++) most = fmaxf(most, weights[2 * i]);
  for (int i = 0; i < spans; i++) {
    const float weight = exp2f(weights[2 * i] - most);
    sum += weights[2 * i + 1] * weight;
    mix += mixed[(size_t)i * dim + threadIdx.x] * weight;
  }
  store(out, ((size_t)token * gridDim.x + head) * dim + threadIdx.x, mix / sum);
}
