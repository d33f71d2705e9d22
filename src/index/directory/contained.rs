//! Tantivy's panics, as errors.
//!
//! Tantivy panics on many files that are not what it wrote. The files of a small index are compared
//! with their checksums before tantivy sees them; a large one would take too long to open. There a
//! panic is caught, the checksums tell which file it was, and the index is an error like any
//! damaged one.
//!
//! A panic's message is printed by the process's panic hook before anything can catch it, and a hook
//! is the process's own affair. So the library only catches; a program that does not want to see
//! these messages asks [`is_contained`] in its hook, as the command-line tool does.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::lexical;
use crate::index::IndexError;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would become an error, and so needs no message.
pub fn is_contained() -> bool {
    CONTAINED.get()
}

/// What `work` returns, which has tantivy read the lexical part at `path`; an error that names the
/// damaged file where tantivy panics.
pub(crate) fn contained<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    let outer = CONTAINED.replace(true);
    // Unwind-safe: a reader changes nothing that is used afterwards.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    outcome.unwrap_or_else(|panic| Err(damage(path, &*panic)))
}

/// The file whose checksum differs; where none does, what tantivy said.
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
