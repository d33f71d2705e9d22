//! Slow-changing corpus statistics that writers store for readers.

use serde::{Deserialize, Serialize};

use super::chunks::{ChunkRow, TokenVectors};
use super::error::MilvusError;
use super::ledger::{Entry, STATISTICS};
use super::names::CollectionNames;
use super::server::Server;
use super::terms::KINDS;
use crate::embedding::codes::Coder;
use crate::index::{IndexError, Settings};
use crate::text::analyze::terms;

/// Chunks sampled for text lengths.
const SAMPLED_TEXTS: usize = 512;
/// Chunks sampled for the mean token vector.
const SAMPLED_TOKENS: usize = 64;

/// Corpus statistics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Mean number of terms per chunk, for each of [`KINDS`].
    pub lengths: [f32; 3],
    /// Mean token vector, `[dim]`; empty without token vectors.
    pub mean_token: Vec<f32>,
    /// Number of chunks when sampled; if it has changed, the statistics are stale.
    pub chunks: usize,
}

impl Statistics {
    /// Statistics of a sample: the first chunks by key. Keys are hashes, so the sample is unbiased.
    pub fn sample(
        server: &Server,
        names: &CollectionNames,
        settings: &Settings,
    ) -> Result<Self, IndexError> {
        let chunks = server.chunk_count(names)?;
        let rows = server.first_chunks(names, SAMPLED_TEXTS)?;
        let mut lengths = [0f32; 3];
        for row in &rows {
            let text = row.passage.text_to_search();
            for (sum, kind) in lengths.iter_mut().zip(KINDS) {
                *sum += terms(&text, kind).len() as f32;
            }
        }
        for sum in &mut lengths {
            *sum /= rows.len().max(1) as f32;
        }
        let with_tokens = rows.iter().filter(|row| row.token_bytes > 0).take(SAMPLED_TOKENS);
        let with_tokens: Vec<TokenVectors> = with_tokens.map(ChunkRow::token_vectors).collect();
        let mean_token = match server.coder(settings)? {
            Some(coder) => coder.mean(&server.tokens_of(names, &with_tokens)?.concat()),
            None => Vec::new(),
        };
        Ok(Self { lengths, mean_token, chunks })
    }
}

impl Server {
    /// What encodes token vectors as `settings` say; `None` if they have none.
    pub fn coder(&self, settings: &Settings) -> Result<Option<Coder>, IndexError> {
        let codes = settings.token_vectors.as_ref();
        let coder = codes.map(|codes| Coder::new(codes, settings.embedder.dimension)).transpose();
        coder.map_err(|source| IndexError::Codes { path: self.address.to_string().into(), source })
    }

    /// The statistics stored by the last writer.
    pub fn statistics(&self, names: &CollectionNames) -> Result<Option<Statistics>, MilvusError> {
        let body = self.entry(names, STATISTICS, "statistics")?;
        Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
    }

    pub fn put_statistics(
        &self,
        names: &CollectionNames,
        statistics: &Statistics,
    ) -> Result<(), MilvusError> {
        let body = serde_json::to_string(statistics).expect("numbers");
        self.put_entries(names, &[Entry { kind: STATISTICS, name: "statistics", chunks: 0, body }])
    }
}
