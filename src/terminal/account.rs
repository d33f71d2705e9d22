//! What became of the files of a run, for people: only what there is to say.

use std::fmt::Write;

use super::messages::Lang;
use super::{one_line, shown_name};
use crate::documents::{Group, Reason};
use crate::index::update::{EmptiedRoot, Explained, FileAccount, LeftOutFiles, Reading};

/// Names and reasons in a line; `--json` has all of them.
const MAX_SHOWN: usize = 8;

impl Lang {
    /// Lines that say what became of all files; none if there is nothing to say beyond the summary.
    pub(crate) fn accounted(self, files: &FileAccount) -> Vec<String> {
        let counts = [
            (files.taken, self.pick("mới hoặc thay đổi", "new or changed")),
            (files.unchanged, self.pick("không đổi", "unchanged")),
            (files.empty.len(), self.pick("rỗng", "empty")),
            (files.without_text.len(), self.pick("không có chữ", "without text")),
            (files.failed.len(), self.pick("không đọc được", "not read")),
            (files.not_reached, self.pick("chưa xét đến", "not reached")),
            (left_out(files), self.pick("bỏ qua", "left out")),
        ];
        let counts: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let found = files.found;
        let colon = if counts.is_empty() { "" } else { ": " };
        let what = self.pick("tệp", if found == 1 { "file" } else { "files" });
        let mut lines = vec![format!("   {found} {what}{colon}{}", counts.join(", "))];
        if !files.left_out.is_empty() {
            let what = self.pick("bỏ qua", "left out");
            lines.push(format!("   {what}: {}", self.reasons(&files.left_out)));
        }
        if !files.empty.is_empty() {
            let what = self.pick("rỗng", "empty");
            lines.push(format!("   {what}: {}", self.names(&files.empty)));
        }
        lines
    }

    /// Files that were read, but of which nothing can be found.
    pub(crate) fn without_text(self, files: &[String]) -> String {
        let what = self.pick(
            "không có chữ nào, nên không tìm thấy được gì trong",
            "no text, so nothing can be found in",
        );
        format!("{what} {}", self.names(files))
    }

    pub(crate) fn emptied(self, emptied: &EmptiedRoot) -> String {
        let EmptiedRoot { root, documents } = emptied;
        let root = shown_name(root);
        match self {
            Self::Vi => format!(
                "`{root}` từng có {documents} tài liệu nhưng nay không còn gì, nên chúng được giữ lại \
                 trong chỉ mục; ổ đĩa đã được gắn chưa? Nếu đúng là đã bỏ: `rag-query index remove {root}`"
            ),
            Self::En => format!(
                "`{root}` had {documents} documents and has none now, so they stay in the index; is \
                 its drive connected? If they are gone for good: `rag-query index remove {root}`"
            ),
        }
    }

    pub(crate) fn not_refreshed(self, error: &anyhow::Error) -> String {
        match self {
            Self::Vi => {
                format!("không cập nhật được chỉ mục, nên trả lời từ bản hiện có: {error:#}")
            }
            Self::En => format!("the index could not be updated and answers as it is: {error:#}"),
        }
    }

    pub(crate) fn unmatched(self, pattern: &str) -> String {
        match self {
            Self::Vi => format!("mẫu `{pattern}` không khớp với tệp nào"),
            Self::En => format!("the pattern `{pattern}` matches no file"),
        }
    }

    /// Why a file is left out: `ignored by .gitignore (secret.md)`.
    pub(crate) fn left_out_because(self, reason: &Reason) -> String {
        let text = match reason {
            Reason::Ignored { by, pattern } => {
                let by = shown_name(by);
                return one_line(&match self {
                    Self::Vi => format!("do {by} loại trừ ({pattern})"),
                    Self::En => format!("ignored by {by} ({pattern})"),
                });
            }
            Reason::Excluded { pattern } => {
                return one_line(&format!("--exclude {pattern}"));
            }
            Reason::UnknownType { extension: Some(extension) } => {
                return one_line(&format!(".{extension}"));
            }
            Reason::UnknownType { extension: None } => self.pick("nhị phân", "binary"),
            Reason::Hidden => self.pick("ẩn", "hidden"),
            Reason::NotIncluded => self.pick("không khớp --include", "not matched by --include"),
            Reason::LargeText => {
                self.pick("quá lớn để đoán là văn bản", "too large to be taken for text on a guess")
            }
            Reason::Link => {
                self.pick("liên kết, không đi theo", "symbolic links, which are not followed")
            }
            Reason::NotAFile => self.pick("thiết bị hoặc ống", "devices or pipes"),
            Reason::Index => self.pick("của chỉ mục", "of an index"),
            Reason::OtherShard => self.pick("thuộc phần khác", "in other shards"),
        };
        text.to_owned()
    }

    /// How a file is read, or why it is not.
    pub(crate) fn explained(self, explained: &Explained) -> String {
        let mut text = format!("{}\n", shown_name(&explained.file));
        if let Some(reason) = &explained.reason {
            let what = self.pick("bỏ qua", "left out");
            let _ = writeln!(text, "   {what}: {}", self.left_out_because(reason));
        }
        if let Some(reading) = &explained.reading {
            let Reading { documents, letters, chunks, .. } = reading;
            let how: Vec<&str> =
                [reading.reader.as_deref(), reading.encoding].into_iter().flatten().collect();
            let counts = match self {
                Self::Vi => format!("{documents} tài liệu, {letters} chữ cái, {chunks} đoạn"),
                Self::En => format!("{documents} documents, {letters} letters, {chunks} chunks"),
            };
            let how = [&how[..], &[&counts]].concat().join(", ");
            let _ = writeln!(text, "   {how}");
            for problem in &reading.problems {
                let _ = writeln!(text, "   ⚠️  {}", one_line(problem));
            }
        }
        let indexed = match (self, explained.indexed_chunks) {
            (Self::Vi, Some(chunks)) => format!("trong chỉ mục: {chunks} đoạn"),
            (Self::En, Some(chunks)) => format!("in the index: {chunks} chunks"),
            (_, None) => self.pick("không có trong chỉ mục", "not in the index").to_owned(),
        };
        text + &format!("   {indexed}\n")
    }

    /// `2 ignored by .gitignore (secret.md), 3 .png`, most files first.
    fn reasons(self, groups: &[LeftOutFiles]) -> String {
        let mut groups: Vec<&LeftOutFiles> = groups.iter().collect();
        groups.sort_by_key(|files| std::cmp::Reverse(files.group.files));
        let shown = groups.iter().take(MAX_SHOWN).map(|LeftOutFiles { reason, group }| {
            let Group { files, more, .. } = group;
            format!("{files}{} {}", if *more { "+" } else { "" }, self.left_out_because(reason))
        });
        let shown: Vec<String> = shown.collect();
        let rest: usize = groups.iter().skip(MAX_SHOWN).map(|files| files.group.files).sum();
        format!("{}{}", shown.join(", "), self.and_more(rest))
    }

    /// The first of some files' names.
    fn names(self, files: &[String]) -> String {
        let shown: Vec<String> =
            files.iter().take(MAX_SHOWN).map(|file| shown_name(file)).collect();
        format!("{}{}", shown.join(", "), self.and_more(files.len().saturating_sub(MAX_SHOWN)))
    }

    fn and_more(self, count: usize) -> String {
        match (self, count) {
            (_, 0) => String::new(),
            (Self::Vi, _) => format!(" và {count} tệp nữa (xem --json)"),
            (Self::En, _) => format!(" and {count} more (see --json)"),
        }
    }
}

fn left_out(files: &FileAccount) -> usize {
    files.left_out.iter().map(|files| files.group.files).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(reason: Reason, files: usize) -> LeftOutFiles {
        LeftOutFiles { reason, group: Group { files, more: false, example: "/a".to_owned() } }
    }

    #[test]
    fn only_what_there_is_to_say_is_told() {
        let files = FileAccount { found: 2, unchanged: 2, ..FileAccount::default() };
        assert_eq!(Lang::En.accounted(&files), ["   2 files: 2 unchanged"]);
        assert_eq!(Lang::Vi.accounted(&FileAccount::default()), ["   0 tệp"]);
        let ignored =
            Reason::Ignored { by: "/notes/.gitignore".to_owned(), pattern: "secret\n*".to_owned() };
        let png = Reason::UnknownType { extension: Some("png".to_owned()) };
        let files = FileAccount {
            found: 7,
            taken: 1,
            empty: vec!["/notes/empty\n.md".to_owned()],
            left_out: vec![group(ignored, 2), group(png, 3)],
            ..FileAccount::default()
        };
        assert_eq!(
            Lang::En.accounted(&files),
            [
                "   7 files: 1 new or changed, 1 empty, 5 left out",
                "   left out: 3 .png, 2 ignored by /notes/.gitignore (secret *)",
                "   empty: /notes/empty .md",
            ]
        );
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        let names: Vec<String> = (0..11).map(|n| format!("/{n}.md")).collect();
        let told = Lang::En.without_text(&names);
        assert!(told.ends_with("/6.md, /7.md and 3 more (see --json)"), "{told}");
    }
}
