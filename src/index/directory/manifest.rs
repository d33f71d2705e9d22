//! `manifest.json`: the settings of an index, and its current generation of data.

use std::fs::{self, File};
use std::io::{self, Write};
use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::embedding::codes::TokenCodes;
use crate::index::{IndexError, Settings};

const FORMAT: u32 = 3;
/// The format before token vectors had any codes but those of 8 bits; still read.
const EIGHT_BIT_FORMAT: u32 = 2;
const FILE: &str = "manifest.json";
/// In an unpublished generation: the settings it is being built with.
const PENDING: &str = "pending.json";
/// Size limit in bytes; a manifest takes a few hundred.
const MAX_BYTES: u64 = 64 << 10;

/// The manifest of an index directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    generation: String,
    /// The settings the index was built with.
    #[serde(flatten)]
    pub settings: Settings,
    /// BLAKE3 of this manifest's JSON with an empty checksum.
    checksum: String,
}

impl Manifest {
    /// A manifest for a new generation in `dir`; not written yet.
    pub(crate) fn fresh(dir: &Path, settings: Settings) -> Self {
        let taken = |name: &String| dir.join(name).exists();
        let generation =
            (1..=u32::MAX).map(|n| format!("generation-{n}")).find(|name| !taken(name));
        let generation = generation.expect("a directory cannot hold 2^32 generations");
        Self::new(generation, settings)
    }

    fn new(generation: String, settings: Settings) -> Self {
        let mut manifest = Self { format: FORMAT, generation, settings, checksum: String::new() };
        manifest.checksum = manifest.expected_checksum();
        manifest
    }

    /// As it was written before token vectors had other codes.
    #[cfg(test)]
    pub(crate) fn of_old_format(self) -> Self {
        let mut manifest = Self { format: EIGHT_BIT_FORMAT, ..self };
        manifest.checksum = manifest.expected_checksum();
        manifest
    }

    fn expected_checksum(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&bare).expect("a manifest is plain data");
        blake3::hash(&json).to_hex().to_string()
    }

    /// An unfinished generation in `dir` that was started with `settings`, if any.
    pub(crate) fn unfinished(dir: &Path, settings: &Settings) -> Option<Self> {
        let mut generations: Vec<String> = fs::read_dir(dir)
            .ok()?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_generation(name))
            .collect();
        generations.sort();
        generations.into_iter().find_map(|generation| {
            let path = dir.join(&generation).join(PENDING);
            if fs::metadata(&path).ok()?.len() > MAX_BYTES {
                return None;
            }
            let begun: Settings = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            (begun == *settings).then(|| Self::new(generation, begun))
        })
    }

    /// The codes in which `wanted` has the token vectors, if those of this index are still as they were
    /// before there was a choice.
    pub(crate) fn other_codes(&self, wanted: &Settings) -> Option<TokenCodes> {
        let is_old = self.format == EIGHT_BIT_FORMAT && self.settings.token_vectors.is_some();
        let codes = wanted.token_vectors.clone().filter(|codes| *codes != TokenCodes::EightBit);
        codes.filter(|_| is_old)
    }

    /// Marks this generation, whose directory exists, as resumable by a later rebuild.
    pub(crate) fn mark_unfinished(&self, dir: &Path) -> Result<(), IndexError> {
        let path = self.data(dir).join(PENDING);
        let json = serde_json::to_vec(&self.settings).expect("settings are plain data");
        fs::write(&path, json).map_err(|source| IndexError::Unwritable { path, source })
    }

    /// Whether `dir` holds an index, even a corrupt one or one of another format version.
    pub fn exists(dir: &Path) -> bool {
        !matches!(Self::read(dir), Err(IndexError::Missing(_)))
    }

    /// Reads the manifest of the index in `dir`.
    pub fn read(dir: &Path) -> Result<Self, IndexError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let path = dir.join(FILE);
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                IndexError::Missing(dir.to_owned())
            }
            _ => IndexError::Unreadable { path: path.clone(), source },
        };
        let damaged = |what: String| IndexError::Damaged { path: path.clone(), what };
        if fs::metadata(&path).map_err(unreadable)?.len() > MAX_BYTES {
            return Err(damaged("it is no manifest: too large".to_owned()));
        }
        let json = fs::read(&path).map_err(unreadable)?;
        let Versioned { format } =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if ![EIGHT_BIT_FORMAT, FORMAT].contains(&format) {
            return Err(IndexError::Format {
                path: dir.to_owned(),
                found: format,
                expected: FORMAT,
            });
        }
        let manifest: Self =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        // The name becomes a path, so only accept names this program generates.
        if !is_generation(&manifest.generation) {
            return Err(damaged(format!(
                "it names a strange generation {:?}",
                manifest.generation
            )));
        }
        if manifest.checksum != manifest.expected_checksum() {
            return Err(IndexError::checksum(path));
        }
        Ok(manifest)
    }

    /// Replaces the directory's manifest atomically: write a temporary file, sync, rename.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), IndexError> {
        let path = dir.join(FILE);
        let temporary = dir.join(format!("{FILE}.new"));
        let json = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|source| IndexError::Unwritable { path: path.clone(), source })?;
        let _ = fs::remove_file(self.data(dir).join(PENDING));
        Ok(())
    }

    /// Whether the file in `dir` is byte-for-byte what [`Self::write`] would write.
    pub(crate) fn is_as_written(&self, dir: &Path) -> bool {
        let json = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        fs::read(dir.join(FILE)).is_ok_and(|stored| stored == json)
    }

    /// Whether both manifests refer to the same data.
    pub(crate) fn is_same_generation(&self, other: &Self) -> bool {
        self.generation == other.generation
    }

    /// When the generation's last commit was made.
    pub(crate) fn changed(&self, dir: &Path) -> Option<SystemTime> {
        self.data(dir).join("lexical").join("meta.json").metadata().ok()?.modified().ok()
    }

    /// The directory of the current generation.
    pub(crate) fn data(&self, dir: &Path) -> PathBuf {
        dir.join(&self.generation)
    }

    /// Removes all other generations. Errors are ignored, since these are only leftovers.
    pub(crate) fn remove_other_generations(&self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // The directory may also hold the user's own files.
            if is_generation(name)
                && name != self.generation
                && entry.path().join("lexical").is_dir()
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Bytes that the parts of an index take on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Words, and the text of passages.
    pub text: u64,
    /// Vectors of passages.
    pub vectors: u64,
    /// Vectors of tokens, for late interaction.
    pub token_vectors: u64,
    /// Which files, documents and passages there are.
    pub ledger: u64,
}

impl Sizes {
    /// Of all parts together.
    pub fn total(self) -> u64 {
        self.text + self.vectors + self.token_vectors + self.ledger
    }
}

impl Sum for Sizes {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |sum, one| Self {
            text: sum.text + one.text,
            vectors: sum.vectors + one.vectors,
            token_vectors: sum.token_vectors + one.token_vectors,
            ledger: sum.ledger + one.ledger,
        })
    }
}

/// What the index in `dir` takes; its folder may also hold the user's own files.
pub fn sizes(dir: &Path) -> Sizes {
    fn below(path: &Path) -> u64 {
        let Ok(metadata) = path.symlink_metadata() else { return 0 };
        if !metadata.is_dir() {
            return metadata.len();
        }
        entries(path).map(|(_, path)| below(&path)).sum()
    }
    let mut sizes = Sizes { ledger: below(&dir.join(FILE)), ..Sizes::default() };
    for (_, generation) in entries(dir).filter(|(name, _)| is_generation(name)) {
        for (name, path) in entries(&generation) {
            *match name.split('.').next() {
                Some("lexical") => &mut sizes.text,
                Some("vectors") => &mut sizes.vectors,
                Some("tokens") => &mut sizes.token_vectors,
                _ => &mut sizes.ledger,
            } += below(&path);
        }
    }
    sizes
}

/// Names and paths in a folder; none if it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// Whether `name` is `generation-` followed by a number.
fn is_generation(name: &str) -> bool {
    let number = name.strip_prefix("generation-");
    number.is_some_and(|n| !n.is_empty() && n.len() < 10 && n.bytes().all(|b| b.is_ascii_digit()))
}
