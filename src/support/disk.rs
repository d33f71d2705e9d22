//! Free space.

use std::path::Path;

/// Bytes that this user can still write in the file system of `path`, which need not exist yet;
/// `None` if the system does not tell.
#[cfg(unix)]
pub fn free(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|folder| folder.exists())?;
    let space = rustix::fs::statvfs(there).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(not(unix))]
pub fn free(_path: &Path) -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_yet_to_be_made_has_the_space_of_the_one_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let free = |path: &Path| free(path).unwrap() >> 30;
        assert_eq!(free(&folder.path().join("a/b")), free(folder.path()));
    }
}
