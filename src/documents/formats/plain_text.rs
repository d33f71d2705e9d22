//! Plain text and source code, and the text of files in formats whose markup is text.

use std::fs::File;
use std::path::Path;

use encoding_rs::Encoding;

use super::TextHead;
use crate::documents::Markup;
use crate::documents::bytes::bytes_of;
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::embedded::{LeftOut, without_data};
use crate::documents::encoding::{self, Decoded, Flaw, FlawKind, NotText};
use crate::documents::error::ReadError;
use crate::documents::limits::MAX_DOCUMENT_BYTES;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    Ok(Contents::One(extract(file, path, Markup::Plain)?))
}

pub(crate) fn read_code(file: File, path: &Path) -> Result<Contents, ReadError> {
    Ok(Contents::One(extract(file, path, Markup::Code)?))
}

/// A text file, decoded and cleaned, without embedded data.
pub(crate) fn extract(file: File, path: &Path, markup: Markup) -> Result<Extract, ReadError> {
    let (mut text, omitted) = with_flaws(&bytes_of(file, path, MAX_DOCUMENT_BYTES)?, None, path)?;
    let mut data = LeftOut::default();
    if let Some((rest, left_out)) = without_data(&text) {
        (text, data) = (rest, left_out);
    }
    Ok(Extract { text, markup, omitted, data, ..Extract::default() })
}

/// Lines mean something in scripts, and in the files that programs look for by name: Makefile,
/// Dockerfile, Jenkinsfile.
pub(crate) fn is_code(head: &TextHead) -> bool {
    head.start.starts_with("#!") || head.file_name.to_ascii_lowercase().ends_with("file")
}

/// The text of a file that says in which encoding it is; `declared` finds that out. A few of its
/// bytes may be no text; they are named.
pub(crate) fn text_with_flaws(
    file: File,
    path: &Path,
    declared: fn(&[u8]) -> &'static Encoding,
) -> Result<(String, Vec<ReadError>), ReadError> {
    let bytes = bytes_of(file, path, MAX_DOCUMENT_BYTES)?;
    with_flaws(&bytes, unless_utf8(&bytes, declared), path)
}

fn unless_utf8(
    bytes: &[u8],
    declared: fn(&[u8]) -> &'static Encoding,
) -> Option<&'static Encoding> {
    // ISO-2022-JP is ASCII with escapes.
    let is_utf8 = !bytes.contains(&b'\x1b') && std::str::from_utf8(bytes).is_ok();
    (!is_utf8).then(|| declared(bytes))
}

/// The text of a file, decoded and cleaned. A few of its bytes may be no text; they are named.
pub(crate) fn text(file: File, path: &Path) -> Result<(String, Vec<ReadError>), ReadError> {
    with_flaws(&bytes_of(file, path, MAX_DOCUMENT_BYTES)?, None, path)
}

/// A text, and what in its bytes was none.
fn with_flaws(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
    path: &Path,
) -> Result<(String, Vec<ReadError>), ReadError> {
    let (text, flaws) = decoded(bytes, declared, path)?;
    Ok((clean(&text).into_owned(), flaws))
}

/// A text as it stands in its bytes, and what in them was none.
pub(crate) fn decoded(
    bytes: &[u8],
    declared: Option<&'static Encoding>,
    path: &Path,
) -> Result<(String, Vec<ReadError>), ReadError> {
    let Decoded { text, flaws } =
        encoding::decode_with_flaws(bytes, declared).map_err(|reason| not_text(reason, path))?;
    let error = |Flaw { kind, places, line, offset }| {
        let path = path.to_owned();
        match kind {
            FlawKind::Wrong => ReadError::WrongBytes { path, places, line, offset },
            FlawKind::Zero => ReadError::ZeroBytes { path, places, line, offset },
        }
    };
    Ok((text.into_owned(), flaws.into_iter().map(error).collect()))
}

fn not_text(reason: NotText, path: &Path) -> ReadError {
    let path = path.to_owned();
    match reason {
        NotText::Binary(offset) => ReadError::Binary { path, offset: offset as u64 },
        NotText::Unknown(offset) => ReadError::UnknownEncoding { path, offset },
    }
}

#[cfg(test)]
mod tests {
    use crate::documents::ReadError;
    use crate::documents::samples::documents;

    /// One wrong byte must not cost a file of a thousand rows.
    #[test]
    fn a_wrong_byte_in_data_is_named_and_the_rest_is_read() {
        let value = b"gi\xc3\xa1 caf\xe9 4471";
        for (name, before, after) in [
            ("a.csv", "tên,số\nchè,", "\nbia,9\n"),
            ("a.json", "{\"tên\": \"", "\", \"số\": 9}"),
            ("a.xml", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><r><tên>", "</tên></r>"),
            ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nTiếng Việt: ", "\n"),
            ("a.log", "khởi động: ", "\nxong\n"),
        ] {
            let content = [before.as_bytes(), value, after.as_bytes()].concat();
            let (_folder, mut found) = documents(name, content);
            let omitted = found.split_off(1);
            let text = found[0].as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(text.text.contains("giá caf\u{fffd} 4471"), "{name}: {}", text.text);
            assert!(
                matches!(&omitted[..], [Err(ReadError::WrongBytes { places: 1, .. })]),
                "{name}: {omitted:?}"
            );
        }
    }

    #[test]
    fn flaws_and_embedded_data_are_named_and_the_rest_is_read() {
        let data = (0..3000_u32).map(|n| char::from(b'A' + (n * n % 26) as u8));
        let picture = format!("![sơ đồ](data:image/png;base64,{})\n", data.collect::<String>());
        let content = [picture.as_bytes(), "điều một\0\0 và hai\n\nba ".as_bytes(), b"\xe1\xbb"];
        for name in ["a.md", "a.txt", "a.py"] {
            let (_folder, mut found) = documents(name, content.concat());
            let omitted = found.split_off(1);
            let text = found[0].as_ref().unwrap().text.as_str();
            assert_eq!(text, "![sơ đồ](data:image/png;base64,…)\nđiều một và hai\n\nba \u{fffd}");
            assert!(
                matches!(
                    &omitted[..],
                    [
                        Err(ReadError::WrongBytes { places: 1, line: 4, .. }),
                        Err(ReadError::ZeroBytes { places: 1, line: 2, .. }),
                        Err(ReadError::Embedded { places: 1, bytes: 3000, .. }),
                    ]
                ),
                "{omitted:?}"
            );
            assert!(omitted.iter().filter_map(|it| it.as_ref().err()).all(|error| {
                let message = error.to_string();
                message.contains(name) && message.contains("line ")
            }));
        }
    }
}
