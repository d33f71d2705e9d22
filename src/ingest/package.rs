//! ZIP files that hold documents (DOCX, EPUB), read within bounds.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::encoding;
use super::error::IngestError;

/// Most bytes of text in one document, all its parts together, as they are unpacked. A ZIP file may
/// claim to hold a thousand times its size.
const MAX_UNPACKED: usize = 128 << 20;

/// An open ZIP file.
pub(super) struct Package<'p> {
    path: &'p Path,
    archive: ZipArchive<BufReader<File>>,
    /// Bytes that may still be unpacked.
    room: usize,
}

impl<'p> Package<'p> {
    pub fn open(file: File, path: &'p Path) -> Result<Self, IngestError> {
        match ZipArchive::new(BufReader::new(file)) {
            Ok(archive) => Ok(Self { path, archive, room: MAX_UNPACKED }),
            Err(error) => Err(damaged(path, &error)),
        }
    }

    /// The text of a part; `None` if there is no such part.
    ///
    /// # Errors
    /// The part is damaged, encrypted, or more than what may be unpacked.
    pub fn part(&mut self, name: &str) -> Result<Option<String>, IngestError> {
        let path = self.path;
        let part = match self.archive.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(path, &error)),
        };
        let mut bytes = Vec::new();
        part.take(self.room as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(path, &ZipError::Io(error)))?;
        if bytes.len() > self.room {
            return Err(IngestError::Unpacked { path: path.to_owned(), limit: MAX_UNPACKED });
        }
        self.room -= bytes.len();
        match encoding::decode(&bytes, None) {
            Ok(text) => Ok(Some(text.into_owned())),
            Err(reason) => Err(IngestError::Damaged {
                path: path.to_owned(),
                why: format!("`{name}` in it is {reason}"),
            }),
        }
    }
}

fn damaged(path: &Path, error: &ZipError) -> IngestError {
    let path = path.to_owned();
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            IngestError::Encrypted { path }
        }
        error => IngestError::Damaged { path, why: error.to_string() },
    }
}
