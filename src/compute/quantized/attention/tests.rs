use super::*;

#[test]
fn memory_that_does_not_exist_is_an_error() {
    let shape = AttentionShape { query_heads: 8, kv_heads: 8, head_dim: 128, window: None };
    let isa = Isa::avx2();
    assert!(KvCache::<u16>::new(isa, shape, 64).is_ok());
    assert!(KvCache::<u16>::new(isa, shape, 1 << 45).is_err(), "more than addresses");
    assert!(KvCache::<f32>::new(isa, shape, usize::MAX).is_err(), "more than a number");
}

/// Plain attention in double precision, for one head of one token.
fn exact(q: &[f32], k: &[Vec<f32>], v: &[Vec<f32>]) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let scores: Vec<f64> = k.iter().map(|k| dot(q, k) / (q.len() as f64).sqrt()).collect();
    let max = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..q.len())
        .map(|i| weights.iter().zip(v).map(|(w, v)| w * f64::from(v[i])).sum::<f64>() / sum)
        .collect()
}

/// In one piece and token by token, with vectors of both widths, for head sizes that fill whole
/// vectors and not, and for windows shorter and longer than a tile and than the text.
#[test]
fn attention_is_what_plain_loops_make_of_it() {
    for ((query_heads, kv_heads, head_dim), tokens, window) in [
        ((3, 1, 64), 70, None),
        ((4, 2, 40), 37, Some(7)),
        ((4, 2, 40), 37, Some(1)),
        ((10, 2, 8), 300, None),
        ((10, 2, 8), 300, Some(70)),
        ((1, 1, 96), 50, Some(64)),
    ] {
        let shape = AttentionShape { query_heads, kv_heads, head_dim, window };
        let (queries, kv, dim) = (query_heads, kv_heads, head_dim);
        let width = shape.width();
        let qkv: Vec<f32> =
            (0..tokens * width).map(|i| (i * 7919 % 997) as f32 / 300.0 - 1.6).collect();
        // Angles of zero: nothing is rotated.
        let (cos, sin) = (vec![1f32; tokens * dim / 2], vec![0f32; tokens * dim / 2]);
        let layout = RopeLayout::Interleaved;
        let rope = RopeTables { cos: &cos, sin: &sin, pairs: dim / 2, layout };
        let changes = HeadChanges { norms: None, rope };
        let row = |token: usize, start: usize| &qkv[token * width + start * dim..][..dim];
        let check = |out: &[f32], how: &str| {
            for (token, query) in (0..tokens).flat_map(|t| (0..queries).map(move |q| (t, q))) {
                let head = query / shape.group();
                let of = |first: usize| -> Vec<Vec<f32>> {
                    (shape.first_key(token)..=token)
                        .map(|t| row(t, queries + first + head).to_vec())
                        .collect()
                };
                let exact = exact(row(token, query), &of(0), &of(kv));
                let found = &out[(token * queries + query) * dim..][..dim];
                for (found, exact) in found.iter().zip(exact) {
                    assert!(
                        (f64::from(*found) - exact).abs() < 1e-4,
                        "{how}, {shape:?}, token {token}: {found}, not {exact}"
                    );
                }
            }
        };
        let mut rotated = AlignedBuf::default();
        for isa in Isa::all_of_test("attention over a KV cache") {
            let mut cache = KvCache::<f32>::new(isa, shape, tokens).unwrap();
            let mut out = vec![7f32; tokens * queries * dim];
            for (token, out) in out.chunks_exact_mut(queries * dim).enumerate() {
                let qkv = &qkv[token * width..(token + 1) * width];
                cache.attend(qkv, changes, token, &mut rotated, out);
            }
            check(&out, &format!("token by token, {isa:?}"));
            out.fill(7.0);
            cache.attend(&qkv, changes, 0, &mut rotated, &mut out);
            check(&out, &format!("in one piece, {isa:?}"));
        }
    }
}

/// Norms come before angles, and the values behind the rotated ones keep their places.
#[test]
fn heads_are_normalized_and_rotated_in_part() {
    let (dim, pairs) = (16, 5);
    let head: Vec<f32> = (0..dim).map(|i| (i as f32 * 1.7).sin() * 3.0).collect();
    let weight: Vec<f32> = (0..dim).map(|i| 0.5 + i as f32 / 8.0).collect();
    let angles: Vec<f32> = (0..2 * pairs).map(|i| i as f32 * 0.4).collect();
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
    let mut normed = vec![0f32; dim];
    let normed = normalize(&head, Some((&weight, 1e-6)), &mut normed).to_vec();
    let square: f32 = head.iter().map(|x| x * x).sum();
    for layout in [RopeLayout::HalfSplit, RopeLayout::Interleaved] {
        let rope = RopeTables { cos: &cos, sin: &sin, pairs, layout };
        let mut out = vec![0f32; dim];
        rotate(&normed, rope, 1, 2.0, &mut out);
        let expected = |i: usize| head[i] / (square / dim as f32 + 1e-6).sqrt() * weight[i] * 2.0;
        for pair in 0..pairs {
            let (a, b) = match layout {
                RopeLayout::HalfSplit => (pair, pair + pairs),
                RopeLayout::Interleaved => (2 * pair, 2 * pair + 1),
            };
            let (cos, sin) = (cos[pairs + pair], sin[pairs + pair]);
            let (x, y) = (expected(a), expected(b));
            assert!((out[a] - (x * cos - y * sin)).abs() < 1e-4, "{layout:?}, {a}");
            assert!((out[b] - (x * sin + y * cos)).abs() < 1e-4, "{layout:?}, {b}");
        }
        for (i, value) in out.iter().enumerate().skip(2 * pairs) {
            assert!((value - expected(i)).abs() < 1e-4, "{layout:?}, {i}");
        }
    }
}
