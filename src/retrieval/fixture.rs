//! A small index and its embedder, for tests.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::chunks::ChunkSettings;
use crate::documents::{self, Filter};
use crate::embedding::Embedder;
use crate::embedding::codes::TokenCodes;
use crate::index::update::Indexer;
use crate::index::{DirectoryIndex, DirectoryWriter, EmbedderIdentity, Settings, Start};
use crate::models::LazyModel;
use crate::models::catalogue::{EmbedderSpec, Pooling, Precision};
use crate::text::analyze::ANALYZER;

/// Documents, their index (with token vectors), and an embedder that is not yet loaded.
pub struct Notes {
    pub index: DirectoryIndex,
    pub embedder: LazyModel<Embedder>,
    pub folder: tempfile::TempDir,
}

impl Notes {
    /// Indexes each text as a document of its own, `0.txt` and so on.
    pub fn of(texts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes");
        std::fs::create_dir(&notes).unwrap();
        for (number, text) in texts.iter().enumerate() {
            std::fs::write(notes.join(format!("{number}.txt")), text).unwrap();
        }
        let settings = Settings {
            embedder: EmbedderIdentity {
                id: "tiny".to_owned(),
                dimension: 64,
                pooling: "cls".to_owned(),
                passage_prefix: String::new(),
            },
            chunking: ChunkSettings { max_tokens: 100, ..ChunkSettings::default() },
            token_vectors: Some(TokenCodes::FourBit),
            analyzer: ANALYZER,
        };
        let at = folder.path().join("index");
        let writer = DirectoryWriter::open(&at, settings, Start::Update).unwrap();
        let paths = [notes.canonicalize().unwrap()];
        let walk = documents::walk(&paths, &Filter::default()).unwrap();
        let (stop, mut watch) = (AtomicBool::new(false), |_| {});
        let embedder = load().unwrap();
        Indexer::new(Box::new(writer), &embedder, Start::Update, &stop, &mut watch)
            .update(&walk)
            .unwrap();
        Self { index: DirectoryIndex::open(&at).unwrap(), embedder: LazyModel::new(load), folder }
    }
}

/// Two layers of width 64, with random weights.
fn load() -> anyhow::Result<Embedder> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tiny-xlm-roberta");
    let spec = EmbedderSpec {
        pooling: Pooling::Cls,
        query_prefix: String::new(),
        passage_prefix: String::new(),
        max_tokens: 254,
        chunk_tokens: None,
        dimension: 64,
        relevance: None,
        support: None,
        precision: Precision::F32,
        language_directions: None,
        token_books: None,
    };
    Embedder::load(
        &golden.join("config.json"),
        &golden.join("tokenizer.json"),
        &golden.join("model.safetensors"),
        spec,
    )
}
