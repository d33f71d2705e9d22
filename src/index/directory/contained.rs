//! Turns tantivy's panics into errors.
//!
//! Tantivy panics on many kinds of file corruption. For a small index, checksums are verified
//! before tantivy reads anything; for a large one that would make opening too slow. There a panic
//! is caught, checksums identify the corrupt file, and the caller gets an ordinary error.
//!
//! The panic hook prints its message before a panic can be caught, and the hook belongs to the
//! program, not to a library. So this module only catches; a program that wants to suppress these
//! messages checks [`is_contained`] in its hook, as the command-line tool does.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::lexical;
use crate::index::IndexError;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread will be turned into an error, so that its message can be
/// suppressed.
pub fn is_contained() -> bool {
    CONTAINED.get()
}

/// Runs `work`, which reads the lexical part at `path` through tantivy. If tantivy panics, returns
/// an error that names the corrupt file.
pub(crate) fn contained<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    let outer = CONTAINED.replace(true);
    // Unwind-safe: readers leave no state that is used afterwards.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    outcome.unwrap_or_else(|panic| Err(damage(path, &*panic)))
}

/// The file whose checksum does not match; failing that, tantivy's panic message.
fn damage(path: &Path, panic: &(dyn Any + Send)) -> IndexError {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    let what = || format!("its reader gave up: {}", message.unwrap_or("no reason given"));
    lexical::open(path)
        .err()
        .unwrap_or_else(|| IndexError::Damaged { path: path.to_owned(), what: what() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_containment_ends_with_the_call() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_contained());
        let outcome = contained(folder.path(), || -> Result<(), IndexError> {
            contained(folder.path(), || Ok(()))?;
            assert!(is_contained(), "also after an inner call");
            panic!("on purpose");
        });
        assert!(outcome.is_err());
        assert!(!is_contained());
    }
}
