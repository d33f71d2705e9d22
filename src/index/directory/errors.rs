//! What tantivy's errors mean for the index in a directory.

use std::io;
use std::path::Path;

use tantivy::TantivyError;

use crate::index::IndexError;

/// The error of a reader of tantivy's part at `path`.
pub(crate) fn read_error(path: &Path) -> impl Fn(TantivyError) -> IndexError + use<> {
    let path = path.to_owned();
    move |source| IndexError::Lexical { path: path.clone(), source: Box::new(source) }
}

/// The error of a writer. Where tantivy only says that one of its threads gave up, no file is
/// damaged: the system refused to write.
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
