//! What a file's name says about the document.

use std::path::Path;

use super::clean;
use super::title::tidy_title;

/// Words that name files of any content: those of cameras and scanners, and of programs for a file
/// that nobody has named yet.
const SAYS_NOTHING: &str = "img image images photo pic picture dsc dscn dscf pxl vid video mov mvi \
    scan scanned scanner fax screenshot screen shot capture untitled unnamed noname new file files \
    document doc docs text txt note page copy final draft temp tmp test data output export download \
    attachment index readme main default index lib mod init ảnh chụp màn hình tệp tập tin tài liệu \
    văn bản mới bản sao không tên ghi chú anh chup man hinh tep tap tin tai lieu van ban moi ban sao \
    khong ten";

/// A file's name in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileName {
    /// Without extension, with spaces for the signs between words; empty if the document has no file
    /// of its own.
    pub words: String,
    /// Whether it tells a reader what the document is about, so that it can stand for a title.
    pub is_title: bool,
}

impl FileName {
    pub fn of(path: &Path) -> Self {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        let Some(words) = tidy_title(&spaced(&clean(&stem))) else { return Self::default() };
        let is_title = is_title(&words);
        Self { words, is_title }
    }
}

/// Spaces for signs, unless they stand between digits: a date, a version.
fn spaced(stem: &str) -> String {
    let mut spaced = String::with_capacity(stem.len());
    let mut after_digit = false;
    let mut rest = stem.chars().peekable();
    while let Some(c) = rest.next() {
        let in_number = after_digit && rest.peek().is_some_and(char::is_ascii_digit);
        let is_sign = c == '_' || matches!(c, '-' | '.' | '+' | '~') && !in_number;
        spaced.push(if is_sign { ' ' } else { c });
        after_digit = c.is_ascii_digit();
    }
    spaced
}

/// Whether some word is neither a number, nor a code, nor one of [`SAYS_NOTHING`].
fn is_title(words: &str) -> bool {
    let is_code = |c: char| c.is_ascii_hexdigit() || c.is_whitespace() || c == '-';
    if words.len() >= 16
        && words.contains(|c: char| c.is_ascii_digit())
        && words.chars().all(is_code)
    {
        return false;
    }
    words.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let lower = word.to_lowercase();
        let letters = lower.trim_end_matches(char::is_numeric);
        letters.chars().nth(1).is_some()
            && !letters.contains(char::is_numeric)
            && !SAYS_NOTHING.split_whitespace().any(|known| known == letters)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_words() {
        for (path, words) in [
            ("/a/Nguyễn Văn An.md", "Nguyễn Văn An"),
            ("/a/hop-dong_thue.nha.docx", "hop dong thue nha"),
            ("/a/2024-03-05_họp.txt", "2024-03-05 họp"),
            ("/a/API v1.2.md", "API v1.2"),
            ("/a/Nguye\u{302}\u{303}n.md", "Nguyễn"),
            ("/a/.md", "md"),
            ("/a/__.md", ""),
        ] {
            assert_eq!(FileName::of(Path::new(path)).words, words, "{path}");
        }
    }

    #[test]
    fn only_a_name_that_says_something_is_a_title() {
        let is_title = |stem: &str| FileName::of(Path::new(&format!("{stem}.md"))).is_title;
        for stem in
            ["Nguyễn Văn An", "hop-dong-2024", "báo cáo (1)", "UserService", "会议", "facade"]
        {
            assert!(is_title(stem), "{stem}");
        }
        for stem in [
            "IMG_2034",
            "scan0001",
            "Scan 12",
            "550e8400-e29b-41d4-a716-446655440000",
            "d41d8cd98f00b204e9800998ecf8427e",
            "2024-03-05",
            "a",
            "1",
            "Untitled 3",
            "New Document (2)",
            "Tài liệu mới",
            "index",
            "DSC00012 copy",
        ] {
            assert!(!is_title(stem), "{stem}");
        }
    }
}
