//! The collections of an index: schema, creation, loading and removal.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::Duration;

use milvus::v2::error::Error;
use milvus::v2::request::alias::{AlterAliasRequest, CreateAliasRequest, DescribeAliasRequest};
use milvus::v2::request::collection::{
    CreateCollectionRequest, DropCollectionRequest, HasCollectionRequest,
};
use milvus::v2::request::index::CreateIndexRequest;
use milvus::v2::request::utility::FlushRequest;
use milvus::v2::types::{
    CollectionSchema, ConsistencyLevel, DataType, FieldData, FieldSchema, Function, FunctionType,
    IndexParam, IndexType, MetricType,
};
use serde_json::json;

use super::bm25::B;
use super::error::MilvusError;
use super::names::CollectionNames;
use super::server::Server;
use crate::index::lexical::K1;
use crate::index::{IndexError, Settings};

/// Milvus' limit on a text field, in bytes.
pub const MAX_TEXT: usize = 65_535;
/// How often to check for a collection that another process is creating: 4 s in total.
const CREATION_LOOKS: u32 = 20;
/// Delay between these checks.
const CREATION_WAIT: Duration = Duration::from_millis(200);
/// In milliseconds; a cluster takes about a second to flush.
const FLUSH_MS: i64 = 60_000;

/// Milvus' codes for a missing collection and a missing alias. Treating any other error as a
/// missing index would overwrite an existing one.
const NO_ALIAS: [i32; 2] = [100, 1600];

fn number_field(name: &str) -> FieldSchema {
    FieldSchema::new().name(name).data_type(DataType::Int64)
}

/// Text is read for only a few chunks, so let query nodes map it from disk.
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

/// Milvus requires a vector field in every collection; this one is never searched.
const UNUSED: &str = "unused";

/// Values of that field for `rows` rows.
pub fn unused(rows: usize) -> FieldData {
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

/// All calls block and are safe to retry.
impl Server {
    /// The current generation, if there is an index.
    pub fn current(&self) -> Result<Option<CollectionNames>, IndexError> {
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
        let names = CollectionNames::from_chunks(alias, &found).map(Some);
        names.ok_or_else(|| self.damaged(format!("the alias {alias} is not of an index of ours")))
    }

    /// Creates a generation's ledger if it does not exist, and loads it.
    pub fn create_ledger(&self, names: &CollectionNames) -> Result<(), IndexError> {
        self.create_collection(&names.ledger(), &ledger_schema())?;
        Ok(self.load(names, None)?)
    }

    /// Creates the missing collections of an index with `settings`.
    pub fn create(&self, names: &CollectionNames, settings: &Settings) -> Result<(), IndexError> {
        self.create_collection(&names.ledger(), &ledger_schema())?;
        // Settings first: a writer stopped midway must not leave collections that do not match
        // them.
        self.put_settings(names, settings)?;
        if settings.token_vectors.is_some() {
            self.create_collection(&names.tokens(), &tokens_schema())?;
        }
        Ok(self.create_collection(&names.chunks(), &chunks_schema(settings.embedder.dimension))?)
    }

    fn create_collection(
        &self,
        name: &str,
        (schema, indexes): &(CollectionSchema, Vec<IndexParam>),
    ) -> Result<(), MilvusError> {
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
                // Another process may be creating it concurrently.
                Err(error @ MilvusError::Server { .. }) if !self.appears(name)? => {
                    return Err(error);
                }
                Err(MilvusError::Server { .. }) => {}
                made => return made,
            }
        }
        // Its creator may have stopped before building the indexes. If they exist, the server
        // returns an error here; if they are still missing, loading the collection fails later.
        let made = self.call("index a collection", |client| async move {
            let request = CreateIndexRequest::builder().collection_name(name);
            let request = request.index_params(indexes.clone()).sync(false);
            client.create_index(request.build()?).await
        });
        match made {
            Err(MilvusError::Server { .. }) => Ok(()),
            made => made,
        }
    }

    /// Waits for a collection that another process is creating; false if it does not appear.
    fn appears(&self, name: &str) -> Result<bool, MilvusError> {
        for _ in 0..CREATION_LOOKS {
            if self.has(name)? {
                return Ok(true);
            }
            sleep(CREATION_WAIT);
        }
        Ok(false)
    }

    fn has(&self, name: &str) -> Result<bool, MilvusError> {
        self.call("look for a collection", |client| async move {
            let request = HasCollectionRequest::builder().collection_name(name).build()?;
            Ok(client.has_collection(request).await?.exists())
        })
    }

    /// Loads collections that the server may have released: the ledger, or, given `settings`,
    /// everything else.
    pub fn load(
        &self,
        names: &CollectionNames,
        settings: Option<&Settings>,
    ) -> Result<(), MilvusError> {
        let collections = match settings {
            None => vec![names.ledger()],
            Some(settings) if settings.token_vectors.is_some() => {
                vec![names.chunks(), names.tokens()]
            }
            Some(_) => vec![names.chunks()],
        };
        for collection in &collections {
            self.wait(self.load_collection(collection))?;
        }
        Ok(())
    }

    /// Makes a generation the current one.
    pub fn make_current(&self, names: &CollectionNames) -> Result<(), IndexError> {
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
            Err(MilvusError::Server { .. }) if self.current()?.as_ref() == Some(names) => Ok(()),
            made => Ok(made?),
        }
    }

    /// Drops the collections of a generation.
    pub fn drop_generation(&self, names: &CollectionNames) -> Result<(), MilvusError> {
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

    /// Flushes the server's in-memory data to storage.
    pub fn flush(&self, names: &CollectionNames, settings: &Settings) -> Result<(), MilvusError> {
        let mut collections = vec![names.chunks(), names.ledger()];
        if settings.token_vectors.is_some() {
            collections.push(names.tokens());
        }
        let collections = &collections;
        self.call("write the index", |client| async move {
            let request = FlushRequest::builder().collection_names(collections);
            client.flush(request.wait_flushed_ms(FLUSH_MS).build()?).await.map(drop)
        })
    }
}
