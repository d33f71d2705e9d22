//! Dot products of one query with many rows of 8-bit codes: what exact search does a million times.
//!
//! In integers, so every level finds the same. The query stays in the nearest cache, and a level is
//! as fast as it can read rows.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
use crate::compute::simd::InstructionSet;
use crate::compute::simd::SimdLevel;

/// The largest code of a query.
const MAX_CODE: f32 = 127.0;

/// A vector in codes of 8 bits with one scale, to be multiplied with rows of such codes.
pub struct Query {
    /// −127 to 127: AVX2 negates them.
    codes: Vec<i8>,
    scale: f32,
}

impl Query {
    /// Rounds `values`, `[dim]`, to codes. What is not finite counts as zero.
    pub fn new(values: &[f32]) -> Self {
        let finite = |value: f32| if value.is_finite() { value } else { 0.0 };
        let largest = values.iter().map(|&value| finite(value).abs()).fold(0f32, f32::max);
        let scale = if largest > 0.0 { largest / MAX_CODE } else { 1.0 };
        let code = |&value: &f32| (finite(value) / scale).round().clamp(-MAX_CODE, MAX_CODE) as i8;
        Self { codes: values.iter().map(code).collect(), scale }
    }

    /// What the codes stand for, `[dim]`.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        self.codes.iter().map(|&code| f32::from(code) * self.scale)
    }

    /// What a code of 1 stands for.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The dot products of the query's codes with those of each row, for as many rows as
    /// `products` has places: exact up to 2¹⁷ values, beyond that they may wrap.
    ///
    /// `rows` begins with the first row's codes, in two's complement; the next row's are `stride`
    /// bytes on.
    pub fn products(&self, level: SimdLevel, rows: &[u8], stride: usize, products: &mut [i32]) {
        let codes = &self.codes[..];
        match level.instructions() {
            // SAFETY: a level proves that this CPU has its instructions.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Amx => unsafe {
                x86::avx512(codes, rows, stride, products);
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni if is_x86_feature_detected!("avxvnni") => unsafe {
                x86::avx_vnni(codes, rows, stride, products);
            },
            // SAFETY: as above, and this is the other kind of VNNI.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni => unsafe { x86::avx512_vnni(codes, rows, stride, products) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { x86::avx2(codes, rows, stride, products) },
            _ => {
                for (i, product) in products.iter_mut().enumerate() {
                    *product = plain(&rows[i * stride..][..codes.len()], codes);
                }
            }
        }
    }
}

/// One product. Compilers make sums of 16-bit products of it, on x86-64 and on ARM.
fn plain(row: &[u8], codes: &[i8]) -> i32 {
    let products = row.iter().zip(codes).map(|(&row, &code)| {
        i32::from(i16::from(row.cast_signed()) * i16::from(code)) // at most 2¹⁴
    });
    products.fold(0, i32::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "x86_64")]
    use crate::compute::skipped;
    use crate::support::random::SplitMix64;

    /// What the sum is, in 64 bits.
    fn exact(row: &[u8], codes: &[i8]) -> i64 {
        let products = row.iter().zip(codes);
        products.map(|(&row, &code)| i64::from(row.cast_signed()) * i64::from(code)).sum()
    }

    type Scan = fn(&Query, &[u8], usize, &mut [i32]);

    fn check(name: &str, scan: Scan) {
        for dim in [0usize, 1, 31, 32, 63, 64, 65, 100, 384, 1024, 1055] {
            for count in [0usize, 1, 2, 3, 4, 5, 9] {
                let stride = dim + 4;
                let mut random = SplitMix64::new(dim as u64 * 31 + count as u64);
                let mut byte = || random.bits() as u8;
                let mut rows: Vec<u8> = (0..count * stride).map(|_| byte()).collect();
                let mut codes: Vec<i8> = (0..dim).map(|_| byte().cast_signed().max(-127)).collect();
                // Nothing is read behind the last row's codes.
                rows.truncate((count * stride).saturating_sub(4));
                for extreme in [None, Some((-128i8, 127i8)), Some((-128, -127)), Some((127, 127))] {
                    if let Some((row, code)) = extreme {
                        rows.fill(row.cast_unsigned());
                        codes.fill(code);
                    }
                    let query = Query { codes: codes.clone(), scale: 1.0 };
                    let mut found = vec![7; count];
                    scan(&query, &rows, stride, &mut found);
                    for (i, &found) in found.iter().enumerate() {
                        let exact = exact(&rows[i * stride..][..dim], &codes);
                        assert_eq!(i64::from(found), exact, "{name} {dim} {count} {extreme:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_adds_up_exactly() {
        fn at<const LEVEL: usize>(query: &Query, rows: &[u8], stride: usize, out: &mut [i32]) {
            query.products(SimdLevel::available()[LEVEL], rows, stride, out);
        }
        let scans: [Scan; 5] = [at::<0>, at::<1>, at::<2>, at::<3>, at::<4>];
        for (level, scan) in SimdLevel::all_of_test("scan of codes").into_iter().zip(scans) {
            check(level.name(), scan);
        }
    }

    /// CPUs that have both kinds of VNNI take the other one.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vnni_of_avx512_on_vectors_of_256_bits_adds_up_exactly() {
        if !(is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl")) {
            return skipped("scan with VNNI of AVX-512 on vectors of 256 bits", "AVX-512 VNNI");
        }
        // SAFETY: the instructions are there.
        check("avx512_vnni", |query, rows, stride, products| unsafe {
            x86::avx512_vnni(&query.codes, rows, stride, products);
        });
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn rows_that_are_too_short_are_refused() {
        let query = Query::new(&[1.0; 40]);
        query.products(SimdLevel::detect(), &[0; 79], 40, &mut [0; 2]);
    }

    #[test]
    fn a_query_is_rounded_to_its_largest_value() {
        let query = Query::new(&[0.5, -1.0, 0.0, 0.004]);
        assert_eq!(query.codes, [64, -127, 0, 1]);
        assert!((query.scale() - 1.0 / 127.0).abs() < 1e-9);
        assert_eq!(Query::new(&[0.0; 3]).codes, [0; 3]);
        assert_eq!(Query::new(&[f32::NAN, f32::INFINITY, -2.0]).codes, [0, 0, -127]);
        // A scale that is too small for a float.
        assert_eq!(Query::new(&[f32::from_bits(1), 0.0]).codes, [127, 0]);
        assert!(Query::new(&[]).codes.is_empty());
    }
}
