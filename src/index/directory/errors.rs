//! Maps tantivy's errors to errors of a directory index.

use std::io;
use std::path::Path;

use tantivy::TantivyError;

use crate::index::IndexError;

/// Maps an error from reading tantivy's files at `path`.
pub(crate) fn read_error(path: &Path) -> impl Fn(TantivyError) -> IndexError + use<> {
    let path = path.to_owned();
    move |source| IndexError::Lexical { path: path.clone(), source: Box::new(source) }
}

/// Maps a write error. If tantivy only reports that one of its threads died, the cause is a failed
/// write, not corruption.
pub(crate) fn write_error(path: &Path) -> impl Fn(TantivyError) -> IndexError + use<> {
    let path = path.to_owned();
    move |source| match source {
        TantivyError::ErrorInThread(_) => IndexError::Unwritable {
            path: path.clone(),
            source: io::Error::other("writing failed in the background, as on a full disk"),
        },
        TantivyError::IoError(source) => IndexError::Unwritable {
            path: path.clone(),
            source: io::Error::new(source.kind(), source.to_string()),
        },
        source => read_error(&path)(source),
    }
}
