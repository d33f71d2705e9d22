//! The scan with vectors of 256 and 512 bits.

#![allow(clippy::cast_ptr_alignment, reason = "vectors are loaded unaligned")]

use std::arch::x86_64::{
    __m256i, __m512i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_abs_epi8,
    _mm256_add_epi32, _mm256_castsi256_si128, _mm256_dpbusd_avx_epi32, _mm256_dpbusd_epi32,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_xor_si256,
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_xor_si512,
};

use super::plain;

/// Rows whose sums are in registers together.
const FEW: usize = 4;

/// The same function for each instruction set: `$sum` are its empty sums, `$load` reads a vector of
/// codes, `$dot` adds to the sums the products of a row's codes with the query's, `$total` adds up
/// the sums. `$zero` is what stands for a row's code of 0 in these products.
macro_rules! scan {
    ($name:ident, $features:literal, $vector:ty, $zero:literal,
     $sum:expr, $load:path, $dot:expr, $total:path) => {
        /// See [`super::Query::products`].
        #[target_feature(enable = $features)]
        pub fn $name(codes: &[i8], rows: &[u8], stride: usize, products: &mut [i32]) {
            let dot = $dot;
            let (whole, tail) = codes.split_at(codes.len() - codes.len() % size_of::<$vector>());
            let zeros = $zero * whole.iter().map(|&code| i32::from(code)).sum::<i32>();
            for (i, products) in products.chunks_mut(FEW).enumerate() {
                // Where there are fewer rows, the last of them again.
                let rows: [&[u8]; FEW] = std::array::from_fn(|j| {
                    let row = FEW * i + j.min(products.len() - 1);
                    &rows[row * stride..][..codes.len()]
                });
                let mut sums = [$sum; FEW];
                for at in (0..whole.len()).step_by(size_of::<$vector>()) {
                    // SAFETY: a whole vector begins there, in the query and in each row.
                    unsafe {
                        let query = $load(whole.as_ptr().add(at).cast::<$vector>());
                        for (sum, row) in sums.iter_mut().zip(rows) {
                            let row = $load(row.as_ptr().add(at).cast::<$vector>());
                            *sum = dot(*sum, row, query);
                        }
                    }
                }
                for ((product, sum), row) in products.iter_mut().zip(sums).zip(rows) {
                    let of_vectors = $total(sum).wrapping_sub(zeros);
                    *product = of_vectors.wrapping_add(plain(&row[whole.len()..], tail));
                }
            }
        }
    };
}

scan!(
    avx2,
    "avx2,fma",
    __m256i,
    0,
    _mm256_setzero_si256(),
    _mm256_loadu_si256,
    |sum, row, query| {
        // |row| times the query with the row's sign: two products, 128 · 127 at most, fit into 16
        // bits together.
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(row), _mm256_sign_epi8(query, row));
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    },
    total
);
// VNNI multiplies unsigned with signed codes: the row's are moved up by 128.
scan!(
    avx_vnni,
    "avx2,fma,avxvnni",
    __m256i,
    128,
    _mm256_setzero_si256(),
    _mm256_loadu_si256,
    |sum, row, query| {
        _mm256_dpbusd_avx_epi32(sum, _mm256_xor_si256(row, _mm256_set1_epi8(-128)), query)
    },
    total
);
scan!(
    avx512_vnni,
    "avx2,fma,avx512f,avx512vl,avx512vnni",
    __m256i,
    128,
    _mm256_setzero_si256(),
    _mm256_loadu_si256,
    |sum, row, query| {
        _mm256_dpbusd_epi32(sum, _mm256_xor_si256(row, _mm256_set1_epi8(-128)), query)
    },
    total
);
scan!(
    avx512,
    "avx512f,avx512bw,avx512vl,avx512vnni",
    __m512i,
    128,
    _mm512_setzero_si512(),
    _mm512_loadu_si512,
    |sum, row, query| {
        _mm512_dpbusd_epi32(sum, _mm512_xor_si512(row, _mm512_set1_epi8(-128)), query)
    },
    _mm512_reduce_add_epi32
);

/// The sum of eight lanes; it wraps.
#[target_feature(enable = "avx2")]
#[inline]
fn total(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two)))
}
