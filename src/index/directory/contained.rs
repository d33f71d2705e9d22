//! Tantivy's panics, as errors.
//!
//! Tantivy panics on many files that are not what it wrote. Those of a small index are compared with
//! their checksums before tantivy sees them; a large one would take too long to open. There a panic
//! is caught, the checksums tell which file it was, and the index is an error as any damaged one is.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

use super::reader::open_lexical;
use crate::index::IndexError;

thread_local! {
    /// Whether a panic of this thread becomes an error, and so is not to be printed.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, which has tantivy read the lexical part at `path`; an error that names the
/// damaged file where tantivy panics.
pub(crate) fn contained<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let printed = take_hook();
        set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                printed(panic);
            }
        }));
    });
    let around = CONTAINED.replace(true);
    // Nothing that was being changed is used afterwards: a reader only reads.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(around);
    outcome.unwrap_or_else(|panic| Err(damage(path, &*panic)))
}

/// The file whose checksum differs; where none does, what tantivy said.
fn damage(path: &Path, panic: &(dyn Any + Send)) -> IndexError {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    let what = || format!("its reader gave up: {said}");
    open_lexical(path)
        .err()
        .unwrap_or_else(|| IndexError::Damaged { path: path.to_owned(), what: what() })
}
