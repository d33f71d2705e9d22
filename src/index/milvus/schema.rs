//! What is kept on the server, and in which collections.
//!
//! An index `notes` is the alias `notes` of a generation, three collections: `notes_g1` has the
//! chunks, `notes_g1_ledger` what was read and with which settings, and `notes_g1_tokens` the
//! token vectors, if there are any. A rebuild fills the next generation and moves the alias.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use milvus::v2::error::{Error, Result as Answered};
use milvus::v2::request::alias::{AlterAliasRequest, CreateAliasRequest, DescribeAliasRequest};
use milvus::v2::request::collection::{
    CreateCollectionRequest, DropCollectionRequest, HasCollectionRequest,
};
use milvus::v2::request::dml::{DeleteRequest, InsertRequest, UpsertRequest};
use milvus::v2::request::dql::QueryRequest;
use milvus::v2::request::index::CreateIndexRequest;
use milvus::v2::request::utility::FlushRequest;
use milvus::v2::types::{
    CollectionSchema, ConsistencyLevel, DataType, FieldData, FieldSchema, Function, FunctionType,
    IndexParam, IndexType, MetricType, QueryResults,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::server::Server;
use crate::index::{DocumentState, FileState, IndexError, Ledger, Passage, Settings};

/// Format of what is described here.
const FORMAT: u32 = 1;
/// Bytes that Milvus keeps in one text field at most.
pub const MAX_TEXT: usize = 65_535;
/// Bytes of token vectors in one row: a multiple of three that Base64 makes fit.
const PART: usize = 49_140;
/// BM25's k1 and b, the ones of the directory's index.
pub const K1: f32 = 1.2;
/// See [`K1`].
pub const B: f32 = 0.75;
/// Keys that one request names at most.
const KEYS: usize = 512;
/// Rows of token vectors in one message.
const TOKEN_ROWS: usize = 48;
/// Chunks in one page: the client takes answers of 4 MiB.
const PAGE: usize = 128;
/// How often, and after which time, it is looked whether another has made a collection.
const CREATION: (u32, Duration) = (20, Duration::from_millis(200));
/// Flushing on a cluster takes a second or so.
const FLUSH_MS: i64 = 60_000;

/// Milvus' codes for a collection and for an alias that is not there. Nothing else may pass for a
/// missing index: a new one would take its place.
const NO_ALIAS: [i32; 2] = [100, 1600];

/// Kinds of entries in a ledger.
const MANIFEST: i64 = 0;
const DOCUMENT: i64 = 1;
const FILE: i64 = 2;
const STATISTICS: i64 = 3;
/// Of a writer that is at work: see [`super::lease`].
pub const CLAIM: i64 = 4;

/// The collections of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The alias: the index' own name.
    pub alias: String,
    /// Counted from 1.
    pub generation: u32,
}

impl Names {
    /// Generation `generation` of the index `alias`.
    pub fn new(alias: &str, generation: u32) -> Self {
        Self { alias: alias.to_owned(), generation }
    }

    /// The chunks.
    pub fn chunks(&self) -> String {
        format!("{}_g{}", self.alias, self.generation)
    }

    /// Documents, files, settings and statistics.
    pub fn ledger(&self) -> String {
        format!("{}_ledger", self.chunks())
    }

    /// Token vectors.
    pub fn tokens(&self) -> String {
        format!("{}_tokens", self.chunks())
    }

    fn all(&self) -> [String; 3] {
        [self.chunks(), self.ledger(), self.tokens()]
    }
}

/// A positive number for the parts of a key. Two of 10⁹ keys are equal with a probability of 5 %;
/// `index verify` would find it.
pub fn key(parts: &[&[u8]]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(bytes) & i64::MAX
}

/// The key of a chunk: the same chunk of the same document has the same, however often it is added.
pub fn chunk_key(passage: &Passage) -> i64 {
    let (start, end) = passage.span;
    let span = [(start as u64).to_le_bytes(), (end as u64).to_le_bytes()].concat();
    key(&[passage.document.as_bytes(), &span, passage.text_to_embed().as_bytes()])
}

/// The key of a document.
pub fn document_key(id: &str) -> i64 {
    key(&[id.as_bytes()])
}

/// The key of a text that was embedded.
pub fn text_key(passage: &Passage) -> i64 {
    key(&[passage.text_to_embed().as_bytes()])
}

/// The key of an entry in a ledger.
pub fn entry_key(kind: i64, name: &str) -> i64 {
    key(&[&kind.to_le_bytes(), name.as_bytes()])
}

fn token_key(chunk: i64, part: usize) -> i64 {
    key(&[&chunk.to_le_bytes(), &(part as u64).to_le_bytes()])
}

/// A hash over what was computed for a chunk.
pub fn checksum(vector: &[f32], tokens: &[u8]) -> i64 {
    let vector: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    key(&[&vector, tokens])
}

/// Token vectors as bytes: each a scale and `dim` signed bytes, as in a directory's `tokens.i8`.
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

/// What [`pack`] packed.
pub fn unpack(bytes: &[u8], dim: usize) -> Vec<Vec<f32>> {
    bytes
        .chunks_exact(4 + dim)
        .map(|token| {
            let scale = f32::from_le_bytes([token[0], token[1], token[2], token[3]]);
            token[4..].iter().map(|byte| scale * f32::from(byte.cast_signed())).collect()
        })
        .collect()
}

/// A row of the chunks.
#[derive(Debug, Clone)]
pub struct Row {
    /// [`chunk_key`].
    pub id: i64,
    /// [`document_key`].
    pub document: i64,
    /// [`text_key`].
    pub text: i64,
    /// Bytes of its token vectors.
    pub token_bytes: usize,
    /// [`checksum`].
    pub checksum: i64,
    /// Text and place.
    pub passage: Passage,
    /// `[dim]`.
    pub vector: Vec<f32>,
}

/// What is read of a row to score and to show it.
pub const SCORED: [&str; 4] = ["id", "token_bytes", "passage", "dense"];
/// All of a row but the words.
pub const WHOLE: [&str; 7] =
    ["id", "document_key", "text_key", "token_bytes", "checksum", "passage", "dense"];

/// Numbers of a corpus that change slowly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Mean number of terms in a chunk, of each kind.
    pub lengths: [f32; 3],
    /// Mean token vector, `[dim]`; empty without token vectors.
    pub mean_token: Vec<f32>,
    /// Number of chunks when they were taken: another number says that they are old.
    pub chunks: usize,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    #[serde(flatten)]
    settings: Settings,
}

/// What a manifest of any format has.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// A field of an answer by name.
pub fn field<'a>(fields: &'a [FieldData], name: &str) -> Answered<&'a FieldData> {
    let found = fields.iter().find(|field| field.name() == name);
    found.ok_or_else(|| Error::MalformedResponse(format!("it lacks the field {name}")))
}

fn numbers<'a>(fields: &'a [FieldData], name: &str) -> Answered<&'a [i64]> {
    let values = field(fields, name)?.as_int64();
    values.ok_or_else(|| Error::MalformedResponse(format!("{name} has no numbers")))
}

fn texts<'a>(fields: &'a [FieldData], name: &str) -> Answered<&'a [String]> {
    let values = field(fields, name)?.as_varchar();
    values.ok_or_else(|| Error::MalformedResponse(format!("{name} has no text")))
}

/// The rows of an answer that has the fields of [`SCORED`] or [`WHOLE`].
pub fn rows(fields: &[FieldData]) -> Answered<Vec<Row>> {
    // A server that found nothing may leave the fields out.
    if fields.iter().all(FieldData::is_empty) {
        return Ok(Vec::new());
    }
    let (ids, sizes) = (numbers(fields, "id")?, numbers(fields, "token_bytes")?);
    let passages = texts(fields, "passage")?;
    let vectors = field(fields, "dense")?.as_float_vectors();
    let vectors =
        vectors.ok_or_else(|| Error::MalformedResponse("dense has no vectors".to_owned()))?;
    let others = ["document_key", "text_key", "checksum"].map(|name| numbers(fields, name).ok());
    let other = |column: usize, row: usize| {
        others[column].and_then(|values| values.get(row)).copied().unwrap_or(0)
    };
    let short = || Error::MalformedResponse("its fields differ in length".to_owned());
    ids.iter()
        .enumerate()
        .map(|(row, &id)| {
            Ok(Row {
                id,
                document: other(0, row),
                text: other(1, row),
                checksum: other(2, row),
                token_bytes: usize::try_from(*sizes.get(row).ok_or_else(short)?).unwrap_or(0),
                passage: serde_json::from_str(passages.get(row).ok_or_else(short)?)?,
                vector: vectors.get(row).ok_or_else(short)?.clone(),
            })
        })
        .collect()
}

fn number_field(name: &str) -> FieldSchema {
    FieldSchema::new().name(name).data_type(DataType::Int64)
}

/// Text is read for few chunks of many: query nodes map it from their disks.
fn text_field(name: &str) -> FieldSchema {
    let field = FieldSchema::new().name(name).data_type(DataType::VarChar);
    field.max_length(MAX_TEXT as u32).type_param("mmap.enabled", "true")
}

fn vector_field(name: &str, dim: usize) -> FieldSchema {
    FieldSchema::new().name(name).data_type(DataType::FloatVector).dimension(dim as u32)
}

fn index(field: &str, kind: IndexType) -> IndexParam {
    IndexParam::new().field_name(field).index_type(kind)
}

fn with(index: IndexParam, params: &serde_json::Value) -> IndexParam {
    index.extra_params(HashMap::from([("params".to_owned(), params.to_string())]))
}

/// Milvus wants a vector in every collection; this one is never searched.
const UNUSED: &str = "unused";

fn unused(rows: usize) -> FieldData {
    FieldData::float_vector(UNUSED, vec![vec![0.0, 1.0]; rows])
}

fn unused_index() -> IndexParam {
    index(UNUSED, IndexType::AutoIndex).metric_type(MetricType::L2)
}

fn chunks_schema(dim: usize) -> (CollectionSchema, Vec<IndexParam>) {
    let bm25 = Function::new()
        .name("bm25")
        .function_type(FunctionType::Bm25)
        .input_fields(["words"])
        .output_fields(["sparse"]);
    let words =
        text_field("words").enable_analyzer(true).analyzer_params(json!({"tokenizer": "standard"}));
    let schema = CollectionSchema::new()
        .add_field(number_field("id").primary_key(true))
        .add_field(number_field("document_key"))
        .add_field(text_field("document"))
        .add_field(number_field("text_key"))
        .add_field(text_field("passage"))
        .add_field(words)
        .add_field(FieldSchema::new().name("sparse").data_type(DataType::SparseFloatVector))
        .add_field(vector_field("dense", dim))
        .add_field(number_field("token_bytes"))
        .add_field(number_field("checksum"))
        .add_function(bm25);
    let sparse = index("sparse", IndexType::SparseInvertedIndex).metric_type(MetricType::Bm25);
    let dense = index("dense", IndexType::Hnsw).metric_type(MetricType::Cosine);
    let indexes = vec![
        with(sparse, &json!({"bm25_k1": K1, "bm25_b": B})),
        with(dense, &json!({"M": 32, "efConstruction": 256})),
        index("document_key", IndexType::Inverted),
        index("text_key", IndexType::Inverted),
    ];
    (schema, indexes)
}

fn ledger_schema() -> (CollectionSchema, Vec<IndexParam>) {
    let schema = CollectionSchema::new()
        .add_field(number_field("id").primary_key(true))
        .add_field(number_field("kind"))
        .add_field(number_field("chunks"))
        .add_field(text_field("name"))
        .add_field(text_field("body"))
        .add_field(vector_field(UNUSED, 2));
    (schema, vec![unused_index(), index("kind", IndexType::Inverted)])
}

fn tokens_schema() -> (CollectionSchema, Vec<IndexParam>) {
    let schema = CollectionSchema::new()
        .add_field(number_field("id").primary_key(true))
        .add_field(text_field("body"))
        .add_field(vector_field(UNUSED, 2));
    (schema, vec![unused_index()])
}

/// The number in the name of the collection that the alias stands for.
fn generation(alias: &str, collection: &str) -> Option<u32> {
    collection.strip_prefix(alias)?.strip_prefix("_g")?.parse().ok()
}

/// A filter for rows with one of some keys.
pub fn one_of(field: &str, keys: &[i64]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    format!("{field} in [{}]", keys.join(","))
}

/// Adds rows, or replaces those with the same keys.
pub fn upsert(collection: &str, columns: &[FieldData]) -> Answered<UpsertRequest> {
    let rows = InsertRequest::builder().collection_name(collection).columns(columns.to_vec());
    UpsertRequest::builder().insert(rows.build()?).build()
}

/// Reads rows. What was written before is seen: no answer is older than the question.
pub fn strong(collection: &str, filter: &str, fields: &[&str]) -> Answered<QueryRequest> {
    QueryRequest::builder()
        .collection_name(collection)
        .filter(filter)
        .output_fields(fields.iter().copied())
        .consistency_level(ConsistencyLevel::Strong)
        .build()
}

/// What each call does is in its name; all wait, and all may be repeated.
impl Server {
    /// The generation that is in use, if there is an index.
    pub fn current(&self) -> Result<Option<Names>, IndexError> {
        let alias = &self.address.collection;
        let found = self.call("look for the index", |client| async move {
            let request = DescribeAliasRequest::builder().alias(alias).build()?;
            match client.describe_alias(request).await {
                Ok(found) => Ok(Some(found.collection_name().to_owned())),
                Err(Error::Server(error)) if NO_ALIAS.contains(&error.code()) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        let Some(found) = found.filter(|found| !found.is_empty()) else { return Ok(None) };
        match generation(alias, &found) {
            Some(generation) => Ok(Some(Names::new(alias, generation))),
            None => Err(self.damaged(format!("the alias {alias} is not of an index of ours"))),
        }
    }

    /// Makes the ledger of a generation, if there is none, and loads it.
    pub fn create_ledger(&self, names: &Names) -> Result<(), IndexError> {
        self.create_collection(&names.ledger(), &ledger_schema())?;
        self.load(names, None)
    }

    /// Makes the collections of an index with `settings`, those that are not there yet.
    pub fn create(&self, names: &Names, settings: &Settings) -> Result<(), IndexError> {
        self.create_collection(&names.ledger(), &ledger_schema())?;
        // Before the collections that depend on them: whoever is stopped in between leaves none
        // that fits no settings.
        let manifest = Manifest { format: FORMAT, settings: settings.clone() };
        let body = serde_json::to_string(&manifest).expect("settings are plain data");
        self.put_entries(names, &[Entry { kind: MANIFEST, name: "manifest", chunks: 0, body }])?;
        if settings.token_vectors {
            self.create_collection(&names.tokens(), &tokens_schema())?;
        }
        self.create_collection(&names.chunks(), &chunks_schema(settings.embedder.dimension))
    }

    fn create_collection(
        &self,
        name: &str,
        (schema, indexes): &(CollectionSchema, Vec<IndexParam>),
    ) -> Result<(), IndexError> {
        if !self.has(name)? {
            let made = self.call("make a collection", |client| async move {
                let request = CreateCollectionRequest::builder()
                    .collection_name(name)
                    .schema(schema.clone())
                    .index_params(indexes.clone())
                    .consistency_level(ConsistencyLevel::Bounded)
                    .build()?;
                client.create_collection(request).await
            });
            match made {
                // Another may be making it at the same moment.
                Err(error @ IndexError::Server { .. }) if !self.comes_to_be(name)? => {
                    return Err(error);
                }
                Err(IndexError::Server { .. }) => {}
                made => return made,
            }
        }
        // Whoever made it may have been stopped before its indexes were; a server that has them
        // says so, and what it lacks it tells when it is to load.
        let made = self.call("index a collection", |client| async move {
            let request = CreateIndexRequest::builder().collection_name(name);
            let request = request.index_params(indexes.clone()).sync(false);
            client.create_index(request.build()?).await
        });
        match made {
            Err(IndexError::Server { .. }) => Ok(()),
            made => made,
        }
    }

    /// Waits for a collection that another makes; false if it does not.
    fn comes_to_be(&self, name: &str) -> Result<bool, IndexError> {
        for _ in 0..CREATION.0 {
            if self.has(name)? {
                return Ok(true);
            }
            std::thread::sleep(CREATION.1);
        }
        Ok(false)
    }

    fn has(&self, name: &str) -> Result<bool, IndexError> {
        self.call("look for a collection", |client| async move {
            let request = HasCollectionRequest::builder().collection_name(name).build()?;
            Ok(client.has_collection(request).await?.exists())
        })
    }

    /// Has the server load an index, which it may have put aside.
    pub fn load(&self, names: &Names, settings: Option<&Settings>) -> Result<(), IndexError> {
        let collections = match settings {
            None => vec![names.ledger()],
            Some(settings) if settings.token_vectors => vec![names.chunks(), names.tokens()],
            Some(_) => vec![names.chunks()],
        };
        for collection in &collections {
            self.wait(self.load_collection(collection))?;
        }
        Ok(())
    }

    /// Makes a generation the one in use.
    pub fn make_current(&self, names: &Names) -> Result<(), IndexError> {
        let (alias, collection) = (&names.alias, &names.chunks());
        let now = self.current()?;
        if now.as_ref() == Some(names) {
            return Ok(());
        }
        let is_new = now.is_none();
        let made = self.call("name the index", |client| async move {
            if is_new {
                let request = CreateAliasRequest::builder().alias(alias);
                client.create_alias(request.collection_name(collection).build()?).await
            } else {
                let request = AlterAliasRequest::builder().alias(alias);
                client.alter_alias(request.collection_name(collection).build()?).await
            }
        });
        match made {
            Err(IndexError::Server { .. }) if self.current()?.as_ref() == Some(names) => Ok(()),
            made => made,
        }
    }

    /// Removes the collections of a generation.
    pub fn drop_generation(&self, names: &Names) -> Result<(), IndexError> {
        for name in &names.all() {
            if self.has(name)? {
                self.call("remove a collection", |client| async move {
                    let request = DropCollectionRequest::builder().collection_name(name).build()?;
                    client.drop_collection(request).await
                })?;
            }
        }
        Ok(())
    }

    /// Has the server write what it holds in memory.
    pub fn flush(&self, names: &Names, settings: &Settings) -> Result<(), IndexError> {
        let mut collections = vec![names.chunks(), names.ledger()];
        if settings.token_vectors {
            collections.push(names.tokens());
        }
        let collections = &collections;
        self.call("write the index", |client| async move {
            let request = FlushRequest::builder().collection_names(collections);
            client.flush(request.wait_flushed_ms(FLUSH_MS).build()?).await.map(drop)
        })
    }

    fn put(&self, collection: &str, columns: &[FieldData]) -> Result<(), IndexError> {
        self.call("write to the index", |client| async move {
            client.upsert(upsert(collection, columns)?).await.map(drop)
        })
    }

    /// Removes rows by key.
    pub fn delete(&self, collection: &str, keys: &[i64]) -> Result<(), IndexError> {
        for keys in keys.chunks(KEYS) {
            let filter = &one_of("id", keys);
            self.call("remove from the index", |client| async move {
                let request = DeleteRequest::builder().collection_name(collection);
                client.delete(request.filter(filter).build()?).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Removes what `filter` finds, if the server answers at once.
    pub async fn delete_once(&self, collection: &str, filter: &str) -> Answered<()> {
        let request =
            DeleteRequest::builder().collection_name(collection).filter(filter).build()?;
        self.client().delete(request).await.map(drop)
    }

    fn query(
        &self,
        collection: &str,
        filter: &str,
        fields: &[&str],
    ) -> Result<QueryResults, IndexError> {
        self.wait(self.answer_from(collection, "read the index", |client| async move {
            Ok(client.query(strong(collection, filter, fields)?).await?.results().clone())
        }))
    }

    fn get(
        &self,
        collection: &str,
        keys: &[i64],
        fields: &[&str],
    ) -> Result<QueryResults, IndexError> {
        self.query(collection, &one_of("id", keys), fields)
    }

    /// Gives all rows to `take`, about `size` at a time, until it says that it has enough.
    ///
    /// Keys are hashes, so that a range of keys has its share of the rows: no order is asked of the
    /// server, and no cursor, and a page that fails is asked for again.
    fn pages(
        &self,
        collection: &str,
        fields: &[&str],
        size: usize,
        take: &mut dyn FnMut(&[FieldData]) -> Result<bool, IndexError>,
    ) -> Result<(), IndexError> {
        let pages = self.count(collection, "")?.div_ceil(size).max(1) as u64;
        let begin = |page: u64| (u128::from(page) * (1 << 63) / u128::from(pages)) as i64;
        for page in 0..pages {
            let filter = match page + 1 {
                last if last == pages => format!("id >= {}", begin(page)),
                next => format!("id >= {} and id < {}", begin(page), begin(next)),
            };
            if !take(self.query(collection, &filter, fields)?.get_output_fields())? {
                break;
            }
        }
        Ok(())
    }

    fn malformed(&self, error: Error) -> IndexError {
        IndexError::Server {
            address: self.address.to_string(),
            what: "understand an answer".to_owned(),
            source: error.into(),
        }
    }

    /// Adds chunks with their words and token vectors.
    pub fn put_chunks(
        &self,
        names: &Names,
        rows: &[(Row, String, Vec<u8>)],
    ) -> Result<(), IndexError> {
        if rows.is_empty() {
            return Ok(());
        }
        // Token vectors first: a chunk that is seen has them.
        let mut parts: Vec<(i64, String)> = Vec::new();
        for (row, _, tokens) in rows {
            for (part, bytes) in tokens.chunks(PART).enumerate() {
                parts.push((token_key(row.id, part), BASE64_STANDARD.encode(bytes)));
            }
        }
        for parts in parts.chunks(TOKEN_ROWS) {
            let (keys, bodies) = parts.iter().cloned().unzip();
            let columns = [
                FieldData::int64("id", keys),
                FieldData::varchar("body", bodies),
                unused(parts.len()),
            ];
            self.put(&names.tokens(), &columns)?;
        }
        let numbers = |name: &str, of: &dyn Fn(&Row) -> i64| {
            FieldData::int64(name, rows.iter().map(|(row, ..)| of(row)).collect())
        };
        let mut passages = Vec::with_capacity(rows.len());
        for (row, words, _) in rows {
            let json = serde_json::to_string(&row.passage).expect("a passage is plain data");
            let bytes = json.len().max(words.len());
            if bytes > MAX_TEXT {
                let document = row.passage.document.clone();
                return Err(IndexError::TooLong { document, bytes, limit: MAX_TEXT });
            }
            passages.push(json);
        }
        let documents = rows.iter().map(|(row, ..)| row.passage.document.clone()).collect();
        let words = rows.iter().map(|(_, words, _)| words.clone()).collect();
        let vectors = rows.iter().map(|(row, ..)| row.vector.clone()).collect();
        let columns = [
            numbers("id", &|row| row.id),
            numbers("document_key", &|row| row.document),
            FieldData::varchar("document", documents),
            numbers("text_key", &|row| row.text),
            FieldData::varchar("passage", passages),
            FieldData::varchar("words", words),
            FieldData::float_vector("dense", vectors),
            numbers("token_bytes", &|row| i64::try_from(row.token_bytes).unwrap_or(i64::MAX)),
            numbers("checksum", &|row| row.checksum),
        ];
        self.put(&names.chunks(), &columns)
    }

    /// Removes chunks, given with the size of their token vectors, and these.
    pub fn delete_chunks(&self, names: &Names, chunks: &[(i64, usize)]) -> Result<(), IndexError> {
        let keys: Vec<i64> = chunks.iter().map(|&(id, _)| id).collect();
        self.delete(&names.chunks(), &keys)?;
        let parts = chunks
            .iter()
            .flat_map(|&(id, bytes)| (0..bytes.div_ceil(PART)).map(move |part| token_key(id, part)))
            .collect::<Vec<i64>>();
        if parts.is_empty() { Ok(()) } else { self.delete(&names.tokens(), &parts) }
    }

    /// The chunks of some documents: document, chunk, and the size of its token vectors.
    pub fn chunks_of(
        &self,
        names: &Names,
        documents: &[i64],
    ) -> Result<Vec<(i64, i64, usize)>, IndexError> {
        let mut found = Vec::new();
        for keys in documents.chunks(KEYS) {
            let filter = one_of("document_key", keys);
            let fields = ["id", "document_key", "token_bytes"];
            let answer = self.query(&names.chunks(), &filter, &fields)?;
            let fields = answer.get_output_fields();
            if fields.iter().all(FieldData::is_empty) {
                continue;
            }
            let column = |name| numbers(fields, name).map_err(|error| self.malformed(error));
            let (documents, sizes) = (column("document_key")?, column("token_bytes")?);
            for ((&id, &document), &size) in column("id")?.iter().zip(documents).zip(sizes) {
                found.push((document, id, usize::try_from(size).unwrap_or(0)));
            }
        }
        Ok(found)
    }

    /// A chunk for each of the texts that have been embedded.
    pub fn chunks_with(&self, names: &Names, texts: &[i64]) -> Result<Vec<Row>, IndexError> {
        let mut found = Vec::new();
        for keys in texts.chunks(PAGE) {
            let filter = one_of("text_key", keys);
            let answer = self.query(&names.chunks(), &filter, &WHOLE)?;
            let rows = rows(answer.get_output_fields());
            found.extend(rows.map_err(|error| self.malformed(error))?);
        }
        Ok(found)
    }

    /// Chunks by key, in any order; what is not there is left out.
    pub fn chunks(&self, names: &Names, keys: &[i64]) -> Result<Vec<Row>, IndexError> {
        let mut found = Vec::new();
        for keys in keys.chunks(PAGE) {
            let answer = self.get(&names.chunks(), keys, &WHOLE)?;
            let rows = rows(answer.get_output_fields());
            found.extend(rows.map_err(|error| self.malformed(error))?);
        }
        Ok(found)
    }

    /// The `limit` chunks with the smallest keys, which are any chunks, and always the same.
    pub fn first_chunks(&self, names: &Names, limit: usize) -> Result<Vec<Row>, IndexError> {
        let mut found: Vec<Row> = Vec::new();
        self.pages(&names.chunks(), &WHOLE, PAGE, &mut |fields| {
            found.extend(rows(fields).map_err(|error| self.malformed(error))?);
            Ok(found.len() < limit)
        })?;
        found.sort_unstable_by_key(|row| row.id);
        found.truncate(limit);
        Ok(found)
    }

    /// Gives all chunks to `take`, in pages and by key: two copies of the same are the same.
    pub fn each_page(
        &self,
        names: &Names,
        take: &mut dyn FnMut(Vec<Row>) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.pages(&names.chunks(), &WHOLE, PAGE, &mut |fields| {
            let mut page = rows(fields).map_err(|error| self.malformed(error))?;
            page.sort_unstable_by_key(|row| row.id);
            take(page)?;
            Ok(true)
        })
    }

    /// The packed token vectors of each chunk, given with their size, in order.
    pub fn tokens_of(
        &self,
        names: &Names,
        chunks: &[(i64, usize)],
    ) -> Result<Vec<Vec<u8>>, IndexError> {
        let keys: Vec<i64> = chunks
            .iter()
            .flat_map(|&(id, bytes)| (0..bytes.div_ceil(PART)).map(move |part| token_key(id, part)))
            .collect();
        let mut parts: HashMap<i64, Vec<u8>> = HashMap::new();
        for keys in keys.chunks(TOKEN_ROWS) {
            let answer = self.get(&names.tokens(), keys, &["id", "body"])?;
            let fields = answer.get_output_fields();
            if fields.iter().all(FieldData::is_empty) {
                continue;
            }
            let malformed = |error| self.malformed(error);
            let ids = numbers(fields, "id").map_err(malformed)?;
            for (&id, body) in ids.iter().zip(texts(fields, "body").map_err(malformed)?) {
                let bytes = BASE64_STANDARD.decode(body);
                let bytes = bytes.map_err(|_| self.damaged("token vectors that are no Base64"))?;
                parts.insert(id, bytes);
            }
        }
        let whole = |&(id, bytes): &(i64, usize)| {
            let keys = (0..bytes.div_ceil(PART)).map(|part| token_key(id, part));
            let parts = keys.filter_map(|key| parts.get(&key));
            let tokens = parts.flatten().copied().collect::<Vec<u8>>();
            if tokens.len() == bytes {
                Ok(tokens)
            } else {
                Err(self.damaged(format!("chunk {id} lacks token vectors")))
            }
        };
        chunks.iter().map(whole).collect()
    }

    fn count(&self, collection: &str, filter: &str) -> Result<usize, IndexError> {
        let answer = self.query(collection, filter, &["count(*)"])?;
        let count = answer.get_output_fields().first().and_then(|field| field.as_int64());
        let count = count.and_then(|count| usize::try_from(*count.first()?).ok());
        count.ok_or_else(|| self.damaged("the server does not count"))
    }

    /// Number of chunks.
    pub fn chunk_count(&self, names: &Names) -> Result<usize, IndexError> {
        self.count(&names.chunks(), "")
    }

    /// Number of documents with a chunk.
    pub fn document_count(&self, names: &Names) -> Result<usize, IndexError> {
        self.count(&names.ledger(), &format!("kind == {DOCUMENT} and chunks > 0"))
    }

    /// The generation that is in use, with its settings.
    pub fn existing(&self) -> Result<(Names, Settings), IndexError> {
        let missing = || IndexError::Missing(self.address.to_string().into());
        let names = self.current()?.ok_or_else(missing)?;
        let settings = self.settings_in_use(&names)?;
        Ok((names, settings))
    }

    /// The settings of the generation that is in use, which has some.
    pub fn settings_in_use(&self, names: &Names) -> Result<Settings, IndexError> {
        self.load(names, None)?;
        self.settings(names)?.ok_or_else(|| self.damaged("it has no settings"))
    }

    /// The settings that a generation was begun with; `None` if there are none.
    pub fn settings(&self, names: &Names) -> Result<Option<Settings>, IndexError> {
        let Some(body) = self.entry(names, MANIFEST, "manifest")? else { return Ok(None) };
        let unreadable = |error: serde_json::Error| self.damaged(format!("its settings: {error}"));
        let Versioned { format } = serde_json::from_str(&body).map_err(unreadable)?;
        if format != FORMAT {
            return Err(IndexError::Format {
                path: self.address.to_string().into(),
                found: format,
                expected: FORMAT,
            });
        }
        let manifest: Manifest = serde_json::from_str(&body).map_err(unreadable)?;
        Ok(Some(manifest.settings))
    }

    /// The statistics that the last writer left.
    pub fn statistics(&self, names: &Names) -> Result<Option<Statistics>, IndexError> {
        let body = self.entry(names, STATISTICS, "statistics")?;
        Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
    }

    /// Leaves statistics for readers.
    pub fn put_statistics(&self, names: &Names, statistics: &Statistics) -> Result<(), IndexError> {
        let body = serde_json::to_string(statistics).expect("numbers");
        self.put_entries(names, &[Entry { kind: STATISTICS, name: "statistics", chunks: 0, body }])
    }

    fn entry(&self, names: &Names, kind: i64, name: &str) -> Result<Option<String>, IndexError> {
        let answer = self.get(&names.ledger(), &[entry_key(kind, name)], &["id", "body"])?;
        let bodies = texts(answer.get_output_fields(), "body").ok();
        Ok(bodies.and_then(|bodies| bodies.first().cloned()))
    }

    /// The names and bodies of all entries of a kind that has few.
    pub fn entries(&self, names: &Names, kind: i64) -> Result<Vec<(String, String)>, IndexError> {
        let filter = format!("kind == {kind}");
        let answer = self.query(&names.ledger(), &filter, &["id", "name", "body"])?;
        let fields = answer.get_output_fields();
        if fields.iter().all(FieldData::is_empty) {
            return Ok(Vec::new());
        }
        let column = |name| texts(fields, name).map_err(|error| self.malformed(error));
        Ok(column("name")?.iter().cloned().zip(column("body")?.iter().cloned()).collect())
    }

    /// Adds entries to a ledger, or replaces those with the same kind and name.
    pub fn put_entries(&self, names: &Names, entries: &[Entry]) -> Result<(), IndexError> {
        for entries in entries.chunks(KEYS) {
            self.put(&names.ledger(), &entry_columns(entries))?;
        }
        Ok(())
    }

    /// Notes documents and files.
    pub fn put_states(
        &self,
        names: &Names,
        documents: &[(String, DocumentState)],
        files: &[(String, FileState)],
    ) -> Result<(), IndexError> {
        let json = |state: &dyn Fn() -> serde_json::Result<String>| state().expect("plain data");
        let documents = documents.iter().map(|(id, state)| Entry {
            kind: DOCUMENT,
            name: id,
            chunks: i64::try_from(state.chunks).unwrap_or(i64::MAX),
            body: json(&|| serde_json::to_string(state)),
        });
        let files = files.iter().map(|(path, state)| Entry {
            kind: FILE,
            name: path,
            chunks: 0,
            body: json(&|| serde_json::to_string(state)),
        });
        // Documents first: a file that is noted is whole.
        self.put_entries(names, &documents.chain(files).collect::<Vec<Entry>>())
    }

    /// Forgets documents and files.
    pub fn delete_states(
        &self,
        names: &Names,
        documents: &[String],
        files: &[String],
    ) -> Result<(), IndexError> {
        let documents = documents.iter().map(|id| entry_key(DOCUMENT, id));
        let files = files.iter().map(|path| entry_key(FILE, path));
        self.delete(&names.ledger(), &files.chain(documents).collect::<Vec<i64>>())
    }

    /// Reads which documents and files there are.
    pub fn ledger(&self, names: &Names) -> Result<Ledger, IndexError> {
        let mut ledger = Ledger::default();
        let wanted = ["id", "kind", "name", "body"];
        self.pages(&names.ledger(), &wanted, KEYS, &mut |fields| {
            if fields.iter().all(FieldData::is_empty) {
                return Ok(true);
            }
            let malformed = |error| self.malformed(error);
            let kinds = numbers(fields, "kind").map_err(malformed)?;
            let names = texts(fields, "name").map_err(malformed)?;
            let bodies = texts(fields, "body").map_err(malformed)?;
            for ((&kind, name), body) in kinds.iter().zip(names).zip(bodies) {
                let unreadable =
                    |error| self.damaged(format!("the entry of {name} cannot be read: {error}"));
                match kind {
                    DOCUMENT => ledger
                        .insert_document(name, serde_json::from_str(body).map_err(unreadable)?),
                    FILE => {
                        ledger.insert_file(name, serde_json::from_str(body).map_err(unreadable)?);
                    }
                    _ => {}
                }
            }
            Ok(true)
        })?;
        Ok(ledger)
    }
}

/// A row of the ledger.
pub struct Entry<'a> {
    /// What it is about.
    pub kind: i64,
    /// One of a kind.
    pub name: &'a str,
    /// Of a document.
    pub chunks: i64,
    /// JSON.
    pub body: String,
}

/// Rows of the ledger, as the client sends them.
pub fn entry_columns(entries: &[Entry]) -> [FieldData; 6] {
    let numbers = |name: &str, of: &dyn Fn(&Entry) -> i64| {
        FieldData::int64(name, entries.iter().map(of).collect())
    };
    [
        numbers("id", &|entry| entry_key(entry.kind, entry.name)),
        numbers("kind", &|entry| entry.kind),
        numbers("chunks", &|entry| entry.chunks),
        FieldData::varchar("name", entries.iter().map(|e| e.name.to_owned()).collect()),
        FieldData::varchar("body", entries.iter().map(|e| e.body.clone()).collect()),
        unused(entries.len()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_parts_apart_and_are_positive() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(key(&[b"a"]), key(&[b"a", b""]));
        assert_eq!(key(&[b"a"]), key(&[b"a"]));
        assert!((0..1000u32).all(|n| key(&[&n.to_le_bytes()]) >= 0));
    }

    #[test]
    fn packing_what_was_unpacked_changes_nothing() {
        let tokens = vec![vec![0.5, -1.0, 0.003, 0.0], vec![0.0; 4], vec![1e-3, 2e-3, -3e-3, 4e-3]];
        let packed = pack(&tokens);
        assert_eq!(packed.len(), 3 * (4 + 4));
        let unpacked = unpack(&packed, 4);
        for (token, was) in unpacked.iter().flatten().zip(tokens.iter().flatten()) {
            assert!((token - was).abs() <= 1.0 / 254.0, "{token} {was}");
        }
        assert_eq!(unpack(&pack(&unpacked), 4), unpacked);
        assert!(unpack(&[], 4).is_empty());
        // One row of Base64 has room for a whole part.
        assert!(PART.div_ceil(3) * 4 <= MAX_TEXT && PART % 3 == 0);
    }

    #[test]
    fn the_generation_is_read_from_the_name() {
        assert_eq!(generation("notes", &Names::new("notes", 12).chunks()), Some(12));
        for other in ["notes", "notes_g", "notes_gx", "other_g1", "notes_g1_ledger"] {
            assert_eq!(generation("notes", other), None, "{other}");
        }
    }
}
