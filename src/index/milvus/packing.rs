//! Token vectors as bytes: a scale and `dim` signed bytes each, as in a directory index's
//! `tokens.i8`.

/// Packs `[tokens, dim]`.
pub fn pack(tokens: &[Vec<f32>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for token in tokens {
        let largest = token.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        bytes.extend(scale.to_le_bytes());
        let code = |value: &f32| (value / scale).round().clamp(-127.0, 127.0) as i8;
        bytes.extend(token.iter().map(|value| code(value).cast_unsigned()));
    }
    bytes
}

/// Inverse of [`pack`], up to rounding.
pub fn unpack(bytes: &[u8], dim: usize) -> Vec<Vec<f32>> {
    bytes
        .chunks_exact(4 + dim)
        .map(|token| {
            let scale = f32::from_le_bytes([token[0], token[1], token[2], token[3]]);
            token[4..].iter().map(|byte| scale * f32::from(byte.cast_signed())).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_again_what_was_unpacked_changes_nothing() {
        let tokens = vec![vec![0.5, -1.0, 0.003, 0.0], vec![0.0; 4], vec![1e-3, 2e-3, -3e-3, 4e-3]];
        let packed = pack(&tokens);
        assert_eq!(packed.len(), 3 * (4 + 4));
        let unpacked = unpack(&packed, 4);
        for (token, was) in unpacked.iter().flatten().zip(tokens.iter().flatten()) {
            assert!((token - was).abs() <= 1.0 / 254.0, "{token} {was}");
        }
        assert_eq!(unpack(&pack(&unpacked), 4), unpacked);
        assert!(unpack(&[], 4).is_empty());
    }
}
