//! Splits the files among several writers.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Maximum number of shards.
const MAX_PARTS: u32 = 10_000;

/// One of several disjoint sets of files, such as the second of three, `2/3`.
///
/// A file's shard depends only on the BLAKE3 hash of its path: writers need no coordination, adding
/// a file moves no other file, and shards are balanced however the folders are filled. Files are
/// sharded rather than documents, so that a JSON Lines file has a single writer, which alone can
/// tell when all of it is indexed. The number of shards is not recorded in the index; the next run
/// may use another.
/// the next run may use another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Counted from 1.
    number: u32,
    of: u32,
}

impl Shard {
    /// All files.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether this shard contains all files.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Whether the file at `path`, as the index names it, is in this shard.
    pub fn has(self, path: &Path) -> bool {
        let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        // ⌊hash / 2⁶⁴ · number of shards⌋.
        let part = (u128::from(u64::from_le_bytes(first)) * u128::from(self.of)) >> 64;
        part + 1 == u128::from(self.number)
    }

    /// Whether a file may be in both shards.
    pub fn overlaps(self, other: Self) -> bool {
        self.of != other.of || self.number == other.number
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((number, of @ 1..=MAX_PARTS)) if (1..=of).contains(&number) => {
                Ok(Self { number, of })
            }
            _ => Err(format!("a part such as 2/3, the second of three; {MAX_PARTS} parts at most")),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(of: u32) -> Vec<Shard> {
        (1..=of).map(|number| Shard { number, of }).collect()
    }

    #[test]
    fn every_file_is_in_one_part_and_parts_are_of_about_equal_size() {
        for of in [1, 2, 3, 7, 64] {
            let mut sizes = vec![0; of as usize];
            for n in 0..6400 {
                let path = format!("/văn bản/{n}.md");
                let parts: Vec<usize> =
                    (0..of as usize).filter(|&part| all(of)[part].has(Path::new(&path))).collect();
                assert_eq!(parts.len(), 1, "{path} {parts:?}");
                sizes[parts[0]] += 1;
            }
            // Four standard deviations of a binomial distribution.
            let mean = 6400.0 / f64::from(of);
            let max = 4.0 * (mean * (1.0 - 1.0 / f64::from(of))).sqrt();
            let far = sizes.iter().find(|&&size| (f64::from(size) - mean).abs() > max);
            assert_eq!(far, None, "{sizes:?}");
        }
    }

    /// Different versions of the program may write to one index, so a file must never change
    /// shards.
    #[test]
    fn the_part_of_a_path_never_changes() {
        let part = |path: &str, of| {
            all(of).into_iter().find(|shard| shard.has(Path::new(path))).unwrap().to_string()
        };
        let parts = ["/a.md", "/b.md", "/notes/đ.txt"].map(|path| (part(path, 3), part(path, 8)));
        assert_eq!(parts.map(|(a, b)| format!("{a} {b}")), ["2/3 5/8", "3/3 8/8", "2/3 4/8"]);
    }

    #[test]
    fn only_different_parts_of_the_same_number_are_disjoint() {
        let shard = |text: &str| text.parse::<Shard>().unwrap();
        assert!(!shard("1/3").overlaps(shard("2/3")));
        assert!(shard("2/3").overlaps(shard("2/3")));
        assert!(shard("1/3").overlaps(shard("2/4")));
        assert!(shard("1/3").overlaps(Shard::WHOLE));
        assert!(Shard::WHOLE.overlaps(Shard::WHOLE));
    }

    #[test]
    fn malformed_parts_are_refused() {
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
        assert_eq!("2/3".parse::<Shard>().unwrap().to_string(), "2/3");
        assert!("10000/10000".parse::<Shard>().is_ok());
        for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/10001", "1/3/3", "a/b", "1/", "/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
