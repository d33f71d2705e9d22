//! Reading up to a size: a larger file or line is not what it claims to be, and would fill the memory.

use std::fs::File;
use std::io::{BufRead, Error, ErrorKind, Read, Result};
use std::path::Path;

/// The contents of a file of at most `max_bytes`.
///
/// # Errors
/// It cannot be read, or is larger ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    // Reserved at once: a vector that grows to 17 MB is copied more than once on the way.
    let expected = file.metadata()?.len().min(max_bytes);
    let mut bytes = Vec::with_capacity(expected as usize + 1);
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let size = match max_bytes >> 20 {
            0 => format!("{} KiB", max_bytes >> 10),
            mebibytes => format!("{mebibytes} MiB"),
        };
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {size}")));
    }
    Ok(bytes)
}

/// [`read`] for text.
///
/// # Errors
/// As for [`read`], or the file is not UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    String::from_utf8(read(path, max_bytes)?)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

/// What [`read_line`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The whole line, its `\n` included unless the input ends without one.
    Whole,
    /// Only the first bytes of a longer line. The rest is unread; `BufRead::skip_until` skips it.
    TooLong,
    /// Nothing: the input is at its end.
    End,
}

/// Replaces `line` by the next line of `input`, or by its first `max_bytes` bytes. The `\n` counts.
///
/// # Errors
/// `input` cannot be read.
pub fn read_line(input: &mut impl BufRead, max_bytes: u64, line: &mut Vec<u8>) -> Result<Line> {
    line.clear();
    let read = input.by_ref().take(max_bytes).read_until(b'\n', line)? as u64;
    if read == 0 {
        return Ok(Line::End);
    }
    let may_go_on = read == max_bytes && !line.ends_with(b"\n");
    Ok(if may_go_on && !input.fill_buf()?.is_empty() { Line::TooLong } else { Line::Whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [b'a'; 2048]).unwrap();
        assert_eq!(read(&path, 2048).unwrap(), [b'a'; 2048]);
        let error = read_text(&path, 2047).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it is larger than 1 KiB");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 2047).unwrap_err().to_string(), "it is not UTF-8");
        assert_eq!(read(dir.path(), 9).unwrap_err().kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn lines_are_whole_up_to_the_limit_and_cut_beyond() {
        let mut input = &b"abc\nabcd\nab\n\nabcd"[..];
        let mut line = Vec::new();
        let mut next = |input: &mut &[u8]| {
            let found = read_line(input, 4, &mut line).unwrap();
            (found, String::from_utf8(line.clone()).unwrap())
        };
        assert_eq!(next(&mut input), (Line::Whole, "abc\n".to_owned()));
        assert_eq!(next(&mut input), (Line::TooLong, "abcd".to_owned()));
        input.skip_until(b'\n').unwrap();
        assert_eq!(next(&mut input), (Line::Whole, "ab\n".to_owned()));
        assert_eq!(next(&mut input), (Line::Whole, "\n".to_owned()));
        assert_eq!(next(&mut input), (Line::Whole, "abcd".to_owned()));
        assert_eq!(next(&mut input), (Line::End, String::new()));
    }
}
