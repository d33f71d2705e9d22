//! `manifest.json`: what an index was built with, and which generation of its data is current.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chunks::ChunkSettings;
use crate::index::IndexError;

const FORMAT: u32 = 2;
const FILE: &str = "manifest.json";
/// In a generation that is not current yet: what it is being built with.
const PENDING: &str = "pending.json";
/// No honest manifest is larger.
const MAX_BYTES: u64 = 64 << 10;

/// Everything about an embedder that decides which vectors it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedderIdentity {
    /// Catalogue entry and revision, `multilingual-e5-small@614241f`.
    pub id: String,
    /// Values in a vector.
    pub dimension: usize,
    /// How token vectors become one.
    pub pooling: String,
    /// What is put before a passage.
    pub passage_prefix: String,
}

/// What an index is built with. Two indexes with equal settings can take each other's chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The embedder.
    pub embedder: EmbedderIdentity,
    /// How documents are cut.
    pub chunking: ChunkSettings,
    /// Whether the vectors of single tokens are kept, for late interaction.
    pub token_vectors: bool,
}

impl Settings {
    /// Checks that an index that was built with these settings can be used with `wanted`.
    pub fn check(&self, wanted: &Self) -> Result<(), IndexError> {
        let built = self;
        let differs = |built: String, wanted: String| Err(IndexError::Mismatch { built, wanted });
        if built.embedder.id != wanted.embedder.id {
            return differs(built.embedder.id.clone(), wanted.embedder.id.clone());
        }
        if built.embedder != wanted.embedder {
            return differs(format!("{:?}", built.embedder), format!("{:?}", wanted.embedder));
        }
        if built.chunking != wanted.chunking {
            return differs(format!("{:?}", built.chunking), format!("{:?}", wanted.chunking));
        }
        if wanted.token_vectors && !built.token_vectors {
            return differs(
                "a reranker that needs no token vectors".to_owned(),
                "one that works on token vectors".to_owned(),
            );
        }
        Ok(())
    }
}

/// The manifest of an index directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    generation: String,
    /// What the index was built with.
    #[serde(flatten)]
    pub settings: Settings,
    /// BLAKE3 of this manifest's JSON with this field empty.
    checksum: String,
}

impl Manifest {
    /// A manifest for a fresh generation of data in `dir`, not written yet.
    pub(crate) fn fresh(dir: &Path, settings: Settings) -> Self {
        let taken = |name: &String| dir.join(name).exists();
        let generation = (1u32..).map(|n| format!("generation-{n}")).find(|name| !taken(name));
        let generation = generation.expect("a directory cannot hold 2^32 generations");
        Self::of(generation, settings)
    }

    fn of(generation: String, settings: Settings) -> Self {
        let mut manifest = Self { format: FORMAT, generation, settings, checksum: String::new() };
        manifest.checksum = manifest.expected_checksum();
        manifest
    }

    fn expected_checksum(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&bare).expect("a manifest is plain data");
        blake3::hash(&json).to_hex().to_string()
    }

    /// A generation in `dir` that was begun with `settings` and not finished, if there is one.
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
            (begun == *settings).then(|| Self::of(generation, begun))
        })
    }

    /// Marks this generation, whose directory exists, as one to go on with.
    pub(crate) fn mark_unfinished(&self, dir: &Path) -> Result<(), IndexError> {
        let path = self.data(dir).join(PENDING);
        let json = serde_json::to_vec(&self.settings).expect("settings are plain data");
        fs::write(&path, json).map_err(|source| IndexError::Unwritable { path, source })
    }

    /// Whether `dir` is an index of ours, be it damaged or of another version.
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
        if format != FORMAT {
            return Err(IndexError::Format {
                path: dir.to_owned(),
                found: format,
                expected: FORMAT,
            });
        }
        let manifest: Self =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        // The name becomes a path: nothing but our own names may.
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

    /// Replaces the directory's manifest: a temporary file beside it, synced, then renamed.
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

    /// Whether the file in `dir` is byte for byte what would be written.
    pub(crate) fn is_as_written(&self, dir: &Path) -> bool {
        let json = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        fs::read(dir.join(FILE)).is_ok_and(|stored| stored == json)
    }

    /// Whether both name the same data.
    pub(crate) fn is_same_generation(&self, other: &Self) -> bool {
        self.generation == other.generation
    }

    /// The directory of the current data.
    pub(crate) fn data(&self, dir: &Path) -> PathBuf {
        dir.join(&self.generation)
    }

    /// Removes the data of other generations. Failing to is no error: they are only left-overs.
    pub(crate) fn remove_other_generations(&self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // The directory may hold the user's own files, too.
            if is_generation(name)
                && name != self.generation
                && entry.path().join("lexical").is_dir()
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The manifest and the generations in `dir`.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = |name: &str| name == FILE || is_generation(name);
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(ours))
        .map(|entry| entry.path())
        .collect()
}

/// `generation-` and a number.
fn is_generation(name: &str) -> bool {
    let number = name.strip_prefix("generation-");
    number.is_some_and(|n| !n.is_empty() && n.len() < 10 && n.bytes().all(|b| b.is_ascii_digit()))
}
