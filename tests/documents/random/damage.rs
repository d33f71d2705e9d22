//! Damaged copies of files.

use rag_query::internals::support::random::SplitMix64;

/// The bytes, with a few of them changed, lost, moved or doubled.
pub fn mutated(bytes: &[u8], random: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(8) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.below(bytes.len());
        let part = at..(at + random.below(64)).min(bytes.len());
        match random.below(6) {
            0 | 1 => bytes[at] = random.bits() as u8,
            2 => drop(bytes.drain(part)),
            3 => {
                let part = bytes[part].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            4 => {
                let odd = [
                    &b"<"[..],
                    b">",
                    b"</",
                    b"&#",
                    b"\xf0\x9f",
                    b"\xcc\x81",
                    b"\0",
                    b"\n# ",
                    b"```",
                    b"]]>",
                    b"\"",
                    b"<!--",
                ];
                bytes.splice(at..at, odd[random.below(odd.len())].iter().copied());
            }
            _ => {
                if random.below(4) == 0 {
                    bytes.truncate(at);
                }
            }
        }
    }
    bytes
}
