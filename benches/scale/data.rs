//! Synthetic chunks: vectors in clusters, and texts of Vietnamese-like words.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rag_query::internals::support::random::SplitMix64;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

/// Values of a vector.
pub const DIM: usize = 384;

pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

pub fn floats(reader: &mut impl std::io::Read, count: usize) -> Result<Vec<f32>> {
    let mut bytes = vec![0u8; 4 * count];
    reader.read_exact(&mut bytes)?;
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok(bytes.chunks_exact(4).map(number).collect())
}

/// A direction: `[DIM]`, unit length on average. Four uniform numbers together are nearly
/// normal.
fn direction(random: &mut SplitMix64) -> Vec<f32> {
    // The variance of four 16-bit numbers, and of `DIM` values.
    let scale = 1.0 / (4.0 * 65_536f32.powi(2) / 12.0 * DIM as f32).sqrt();
    let mut value = || {
        let bits = random.bits();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f32 - 2.0 * 65_535.0) * scale
    };
    (0..DIM).map(|_| value()).collect()
}

/// Where vectors come from.
pub enum Space {
    Clusters { mean: Vec<f32>, centres: Vec<Vec<f32>> },
    Real(Vec<Vec<f32>>),
}

impl Space {
    pub fn clusters(chunks: usize, random: &mut SplitMix64) -> Self {
        let mean = direction(random);
        let centres = (0..chunks.div_ceil(100)).map(|_| direction(random)).collect();
        Self::Clusters { mean, centres }
    }

    pub fn of_file(file: &Path) -> Result<Self> {
        let count = fs::metadata(file)?.len() as usize / 4;
        let values = floats(&mut BufReader::new(File::open(file)?), count)?;
        ensure!(values.len() >= DIM, "{} has no vector", file.display());
        Ok(Self::Real(values.chunks_exact(DIM).map(<[f32]>::to_vec).collect()))
    }

    /// The vector of a chunk, unit length.
    pub fn vector(&self, chunk: usize, random: &mut SplitMix64) -> Vec<f32> {
        let noise = direction(random);
        let sum: Vec<f32> = match self {
            Self::Clusters { mean, centres } => {
                let centre = &centres[random.below(centres.len())];
                let parts = mean.iter().zip(centre).zip(&noise);
                parts
                    .map(|((mean, centre), noise)| {
                        0.78f32.sqrt() * mean + 0.10f32.sqrt() * centre + 0.12f32.sqrt() * noise
                    })
                    .collect()
            }
            Self::Real(vectors) => {
                let share = if chunk < vectors.len() { 0.0 } else { 0.1f32.sqrt() };
                let vector = &vectors[chunk % vectors.len()];
                vector.iter().zip(&noise).map(|(value, noise)| value + share * noise).collect()
            }
        };
        let norm = dot(&sum, &sum).sqrt();
        sum.iter().map(|value| value / norm).collect()
    }
}

/// Where text comes from.
pub enum Language {
    Zipf(Box<Lexicon>),
    /// Sentences as lists of their words.
    Sentences(Vec<Vec<String>>),
}

impl Language {
    pub fn of_file(file: &Path) -> Result<Self> {
        let mut sentences = Vec::new();
        for text in texts(file)? {
            for sentence in text.split_inclusive(['.', '!', '?']) {
                let words: Vec<String> = sentence.split_whitespace().map(str::to_owned).collect();
                if !words.is_empty() {
                    sentences.push(words);
                }
            }
        }
        ensure!(!sentences.is_empty(), "{} has no text", file.display());
        Ok(Self::Sentences(sentences))
    }

    /// The words of a chunk: 60 to 190 syllables, 125 on average.
    pub fn chunk(&self, random: &mut SplitMix64) -> Vec<String> {
        let syllables = 60 + random.below(131);
        let (mut words, mut count) = (Vec::new(), 0);
        while count < syllables {
            match self {
                Self::Zipf(lexicon) => words.push(lexicon.word(random).to_owned()),
                Self::Sentences(sentences) => {
                    words.extend(sentences[random.below(sentences.len())].iter().cloned());
                }
            }
            count = match self {
                Self::Zipf(_) => count + words.last().map_or(0, |word| word.split(' ').count()),
                Self::Sentences(_) => words.len(),
            };
        }
        words
    }
}

/// The `text`s of a JSONL file.
fn texts(file: &Path) -> Result<Vec<String>> {
    let lines = BufReader::new(File::open(file)?).lines();
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(&line?)?;
            Ok(line["text"].as_str().context("a line has no text")?.to_owned())
        })
        .collect()
}

/// Words by frequency, which falls as the law of Zipf and Mandelbrot has it.
pub struct Lexicon {
    words: Vec<String>,
    /// Cumulative frequencies of the words; the last is 1.
    shares: Vec<f64>,
}

impl Lexicon {
    /// The hundred most frequent words and a third of the others have one syllable, the rest two.
    /// Among the rare words are names and numbers.
    pub fn new(random: &mut SplitMix64) -> Self {
        let syllables = syllables(random);
        let of_syllables = shares(syllables.len());
        let syllable = |random: &mut SplitMix64| {
            let share = random.next();
            let at = of_syllables.partition_point(|&upto| upto < share);
            syllables[at.min(syllables.len() - 1)].as_str()
        };
        let mut seen = HashSet::new();
        let mut words = Vec::new();
        while words.len() < 300_000 {
            let word = if words.len() < 100 {
                syllables[words.len()].clone()
            } else if words.len() > 40_000 && random.below(2) == 0 {
                match random.below(3) {
                    0 => random.below(100_000).to_string(),
                    _ => foreign(random),
                }
            } else if random.below(3) == 0 {
                syllable(random).to_owned()
            } else {
                format!("{} {}", syllable(random), syllable(random))
            };
            // Single syllables may repeat, as words of several meanings: there are too few of them.
            if seen.insert(word.clone()) || !word.contains(' ') {
                words.push(word);
            }
        }
        let shares = shares(words.len());
        Self { words, shares }
    }

    fn word(&self, random: &mut SplitMix64) -> &str {
        let share = random.next();
        let at = self.shares.partition_point(|&upto| upto < share);
        &self.words[at.min(self.words.len() - 1)]
    }
}

/// Cumulative shares of ranks by 1 / (rank + 2.7), Mandelbrot's constant for ordinary text.
fn shares(count: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let mut shares: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += 1.0 / (rank as f64 + 2.7);
            sum
        })
        .collect();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// About 6,000 Vietnamese syllables in random order.
fn syllables(random: &mut SplitMix64) -> Vec<String> {
    let onsets = "|b|c|ch|d|đ|g|gi|h|kh|l|m|n|ng|nh|ph|qu|r|s|t|th|tr|v|x".split('|');
    let rhymes = "a ai an ang anh ao au ay âm ân âng âu ây ă ăm ăn ăng e em en eo ê êm ên ênh êu i im \
                  in inh iu iêm iên iêu o oa oan oi om on ong ô ôi ôm ôn ông ơ ơi ơn u ua ui um un \
                  ung ư ưa ưng ươi ươn ương uyên y yêu";
    let tones = ["", "\u{300}", "\u{301}", "\u{309}", "\u{303}", "\u{323}"];
    let mut all = Vec::new();
    for onset in onsets {
        for rhyme in rhymes.split_whitespace() {
            for tone in tones {
                // Not every combination is a syllable.
                if random.below(10) < 6 {
                    let vowel = rhyme.find(|c: char| !c.is_ascii()).unwrap_or(0);
                    let end = vowel + rhyme[vowel..].chars().next().map_or(0, char::len_utf8);
                    let (start, rest) = rhyme.split_at(end);
                    all.push(format!("{onset}{start}{tone}{rest}").nfc().collect::<String>());
                }
            }
        }
    }
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last + 1));
    }
    all
}

/// A foreign name.
fn foreign(random: &mut SplitMix64) -> String {
    (0..2 + random.below(3))
        .flat_map(|_| {
            let consonant = b"bcdfghjklmnprstvwz"[random.below(18)];
            let vowel = b"aeiou"[random.below(5)];
            [char::from(consonant), char::from(vowel)]
        })
        .collect()
}
