//! Reading and writing rows of any collection.

use std::ops::ControlFlow;

use milvus::v2::error::{Error, Result as Answered};
use milvus::v2::request::dml::{DeleteRequest, InsertRequest, UpsertRequest};
use milvus::v2::request::dql::QueryRequest;
use milvus::v2::types::{ConsistencyLevel, FieldData, QueryResults};

use super::error::MilvusError;
use super::server::Server;
use crate::index::IndexError;

/// Maximum keys per request: about 10 KB of filter text.
pub const KEYS: usize = 512;

/// Result of a page callback: whether to continue.
pub type Taken = Result<ControlFlow<()>, IndexError>;

/// A field of a response by name.
pub fn field<'a>(fields: &'a [FieldData], name: &str) -> Answered<&'a FieldData> {
    let found = fields.iter().find(|field| field.name() == name);
    found.ok_or_else(|| Error::MalformedResponse(format!("it lacks the field {name}")))
}

pub fn numbers<'a>(fields: &'a [FieldData], name: &str) -> Answered<&'a [i64]> {
    let values = field(fields, name)?.as_int64();
    values.ok_or_else(|| Error::MalformedResponse(format!("{name} has no numbers")))
}

pub fn texts<'a>(fields: &'a [FieldData], name: &str) -> Answered<&'a [String]> {
    let values = field(fields, name)?.as_varchar();
    values.ok_or_else(|| Error::MalformedResponse(format!("{name} has no text")))
}

/// Whether nothing was found. A server may then omit the fields.
pub fn is_empty(fields: &[FieldData]) -> bool {
    fields.iter().all(FieldData::is_empty)
}

/// A filter for rows whose key is one of `keys`.
pub fn one_of(field: &str, keys: &[i64]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    format!("{field} in [{}]", keys.join(","))
}

/// Inserts rows, replacing those with the same keys.
pub fn upsert(collection: &str, columns: &[FieldData]) -> Answered<UpsertRequest> {
    let rows = InsertRequest::builder().collection_name(collection).columns(columns.to_vec());
    UpsertRequest::builder().insert(rows.build()?).build()
}

/// A query with strong consistency: it sees everything written before.
pub fn strong(collection: &str, filter: &str, fields: &[&str]) -> Answered<QueryRequest> {
    QueryRequest::builder()
        .collection_name(collection)
        .filter(filter)
        .output_fields(fields.iter().copied())
        .consistency_level(ConsistencyLevel::Strong)
        .build()
}

/// All calls block and are safe to retry.
impl Server {
    pub fn put(&self, collection: &str, columns: &[FieldData]) -> Result<(), MilvusError> {
        self.call("write to the index", |client| async move {
            client.upsert(upsert(collection, columns)?).await.map(drop)
        })
    }

    /// Removes rows by key.
    pub fn delete(&self, collection: &str, keys: &[i64]) -> Result<(), MilvusError> {
        for keys in keys.chunks(KEYS) {
            let filter = &one_of("id", keys);
            self.call("remove from the index", |client| async move {
                let request = DeleteRequest::builder().collection_name(collection);
                client.delete(request.filter(filter).build()?).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Removes the rows matching `filter`, without retrying.
    pub async fn delete_once(&self, collection: &str, filter: &str) -> Answered<()> {
        let request =
            DeleteRequest::builder().collection_name(collection).filter(filter).build()?;
        self.client().delete(request).await.map(drop)
    }

    pub fn query(
        &self,
        collection: &str,
        filter: &str,
        fields: &[&str],
    ) -> Result<QueryResults, MilvusError> {
        self.wait(self.answer_from(collection, "read the index", |client| async move {
            Ok(client.query(strong(collection, filter, fields)?).await?.results().clone())
        }))
    }

    /// Reads rows by key.
    pub fn get(
        &self,
        collection: &str,
        keys: &[i64],
        fields: &[&str],
    ) -> Result<QueryResults, MilvusError> {
        self.query(collection, &one_of("id", keys), fields)
    }

    /// Passes all rows to `take`, about `size` at a time, until it breaks.
    ///
    /// Keys are hashes, so a range of keys holds a proportional share of the rows. That needs
    /// neither ordering nor a cursor, and a failed page can be requested again.
    pub fn pages(
        &self,
        collection: &str,
        fields: &[&str],
        size: usize,
        take: &mut dyn FnMut(&[FieldData]) -> Taken,
    ) -> Result<(), IndexError> {
        let pages = self.count(collection, "")?.div_ceil(size).max(1) as u64;
        let begin = |page: u64| (u128::from(page) * (1 << 63) / u128::from(pages)) as i64;
        for page in 0..pages {
            let filter = match page + 1 {
                last if last == pages => format!("id >= {}", begin(page)),
                next => format!("id >= {} and id < {}", begin(page), begin(next)),
            };
            if take(self.query(collection, &filter, fields)?.get_output_fields())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Number of rows matching `filter`.
    pub fn count(&self, collection: &str, filter: &str) -> Result<usize, IndexError> {
        let answer = self.query(collection, filter, &["count(*)"])?;
        let count = answer.get_output_fields().first().and_then(|field| field.as_int64());
        let count = count.and_then(|count| usize::try_from(*count.first()?).ok());
        count.ok_or_else(|| self.damaged("the server does not count"))
    }

    /// The error for a response that lacks what was requested.
    pub fn malformed(&self, error: Error) -> MilvusError {
        MilvusError::Server {
            address: self.address.to_string(),
            what: "understand an answer".to_owned(),
            source: error.into(),
        }
    }
}
