//! Files that nobody else sees, for readers that take a file where there are only bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Deletes the file when it is closed (`FILE_FLAG_DELETE_ON_CLOSE`).
#[cfg(windows)]
const DELETE_ON_CLOSE: u32 = 0x0400_0000;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// An open file with these bytes, which is gone once it is closed.
pub fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::custom_flags(&mut options, DELETE_ON_CLOSE);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("rag-query-{}-{number}", std::process::id()));
    let mut file = options.open(&path)?;
    if cfg!(unix) {
        // The open file stays.
        std::fs::remove_file(&path)?;
    }
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn bytes_are_read_from_a_file_without_a_name() {
        let mut text = String::new();
        file_of("chữ".as_bytes()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "chữ");
        let prefix = format!("rag-query-{}-", std::process::id());
        let names = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        assert!(
            !names
                .into_iter()
                .any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        );
    }
}
