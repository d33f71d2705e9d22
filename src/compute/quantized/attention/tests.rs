use super::*;

#[test]
fn memory_that_does_not_exist_is_an_error() {
    let shape = AttentionShape { query_heads: 8, kv_heads: 8, head_dim: 128 };
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
/// vectors and not.
#[test]
fn attention_is_what_plain_loops_make_of_it() {
    for ((query_heads, kv_heads, head_dim), tokens) in
        [((3, 1, 64), 70), ((4, 2, 40), 37), ((10, 2, 8), 300)]
    {
        let shape = AttentionShape { query_heads, kv_heads, head_dim };
        let (queries, kv, dim) = (query_heads, kv_heads, head_dim);
        let width = shape.width();
        let qkv: Vec<f32> =
            (0..tokens * width).map(|i| (i * 7919 % 997) as f32 / 300.0 - 1.6).collect();
        // Angles of zero: nothing is rotated.
        let (cos, sin) = (vec![1f32; tokens * dim / 2], vec![0f32; tokens * dim / 2]);
        let rope = RopeTables { cos: &cos, sin: &sin, layout: RopeLayout::Interleaved };
        let row = |token: usize, start: usize| &qkv[token * width + start * dim..][..dim];
        let check = |out: &[f32], how: &str| {
            for (token, query) in (0..tokens).flat_map(|t| (0..queries).map(move |q| (t, q))) {
                let head = query / shape.group();
                let of = |first: usize| -> Vec<Vec<f32>> {
                    (0..=token).map(|t| row(t, queries + first + head).to_vec()).collect()
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
                cache.attend(qkv, rope, token, &mut rotated, out);
            }
            check(&out, &format!("token by token, {isa:?}"));
            out.fill(7.0);
            cache.attend(&qkv, rope, 0, &mut rotated, &mut out);
            check(&out, &format!("in one piece, {isa:?}"));
        }
    }
}
