//! Ids of the documents of a file that is a list of them, such as `path.jsonl#id`.

/// Endings of the names of such files, in lower case.
const LISTS: [&str; 3] = [".jsonl", ".mbox", ".mbx"];
/// What stands between a file's path and the id of a record. The first follows the name of a list.
/// The second follows any other name, such as that of a mailbox without an extension: a `#` may be
/// part of a name, but no absolute path has two slashes.
pub(crate) const RECORD_MARKS: [&str; 2] = ["#", "//#"];

/// The id of a record of the file `file`.
pub(crate) fn record_id(file: &str, record: &str) -> String {
    let mark = if is_list(file) { RECORD_MARKS[0] } else { RECORD_MARKS[1] };
    format!("{file}{mark}{record}")
}

/// The file of a document: `path` itself, or the part before the mark in `path.jsonl#id`.
pub fn file_of(document: &str) -> &str {
    if let Some((file, _)) = document.split_once(RECORD_MARKS[1]) {
        return file;
    }
    let hashes = document.match_indices('#').map(|(at, _)| &document[..at]);
    hashes.into_iter().find(|path| is_list(path)).unwrap_or(document)
}

fn is_list(path: &str) -> bool {
    let path = path.to_lowercase();
    LISTS.iter().any(|list| path.ends_with(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_record_is_found_again() {
        for file in ["/a.jsonl", "/Thư/cũ.MBOX", "/mail/Inbox", "/C#/Inbox", "/a#b.mbx"] {
            assert_eq!(file_of(&record_id(file, "12#3")), file);
        }
        for file in ["/a.md", "/a.md#b.md", "/C# notes.txt"] {
            assert_eq!(file_of(file), file);
        }
    }
}
