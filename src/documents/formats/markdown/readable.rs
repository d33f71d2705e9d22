//! Markdown as a person reads it. Search and models get the source; people see this.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::OPTIONS;

/// The text of a piece of Markdown: without markup, code kept as it is, list items and table rows on
/// lines of their own, a blank line between other blocks.
///
/// Works on fragments, such as one of [`sentences`](crate::chunks::sentences); a `**` whose partner
/// was cut off stays.
pub(crate) fn readable(markdown: &str) -> String {
    let mut page = Page::default();
    // HTML comes line by line, but tags and comments span lines.
    let mut html = String::new();
    let mut lists = 0_usize;
    for event in Parser::new_ext(markdown, OPTIONS) {
        match event {
            Event::Start(Tag::List(_)) => {
                page.end_block(lists);
                lists += 1;
            }
            Event::End(TagEnd::List(_)) => {
                lists = lists.saturating_sub(1);
                page.end_block(lists);
            }
            Event::Start(
                Tag::Paragraph
                | Tag::CodeBlock(_)
                | Tag::Heading { .. }
                | Tag::Table(_)
                | Tag::HtmlBlock,
            )
            | Event::End(
                TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::Heading(_) | TagEnd::Table,
            ) => page.end_block(lists),
            Event::End(TagEnd::HtmlBlock) => {
                page.push(without_tags(&html).trim());
                page.end_block(lists);
                html.clear();
            }
            Event::Start(Tag::Item)
            | Event::End(TagEnd::Item | TagEnd::TableHead | TagEnd::TableRow)
            | Event::HardBreak => page.end_line(),
            Event::End(TagEnd::TableCell) => page.cell = true,
            Event::Text(text)
            | Event::Code(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text) => page.push(&text),
            Event::Html(line) => html.push_str(&line),
            Event::InlineHtml(tag) if tag.starts_with("<br") => page.end_line(),
            Event::SoftBreak => page.push(" "),
            _ => {}
        }
    }
    page.text.truncate(page.text.trim_end().len());
    page.text
}

/// Text with separators that are written only between two pieces of text.
#[derive(Default)]
struct Page {
    text: String,
    /// Newlines due before the next text.
    newlines: usize,
    /// A table cell has ended: the next text of the row is another one.
    cell: bool,
}

impl Page {
    fn end_line(&mut self) {
        self.newlines = self.newlines.max(1);
    }

    /// Leaves a blank line, but not within lists, which are read as a whole.
    fn end_block(&mut self, lists: usize) {
        self.newlines = self.newlines.max(if lists == 0 { 2 } else { 1 });
    }

    fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.newlines > 0 {
            self.text.truncate(self.text.trim_end_matches(['\n', ' ']).len());
            if !self.text.is_empty() {
                self.text.extend(std::iter::repeat_n('\n', self.newlines));
            }
        } else if self.cell {
            self.text.push_str(" | ");
        }
        (self.newlines, self.cell) = (0, false);
        self.text.push_str(text);
    }
}

/// Drops tags and comments from HTML; one that does not end stays.
fn without_tags(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let tag = &rest[open..];
        let end = if tag.starts_with("<!--") { "-->" } else { ">" };
        let Some(length) = tag.find(end) else { break };
        out.push_str(&rest[..open]);
        rest = &tag[length + end.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_reads_well() {
        let markdown = "\
## Tách từ *là gì*?
**Tách từ** chia câu
thành [từ](http://a.b), ~~rồi~~ `x_1`[^1] và $w_i$.<br>Hết \\* ![hình](a.png)

1. một
   - một rưỡi
2. hai

```python
a = 1

b
```

| tên | giá |
|---|---|
| a | *1* |

<details>
<summary>Thêm</summary> <!-- không
thấy -->
</details>

[^1]: chú thích
";
        assert_eq!(
            readable(markdown),
            "Tách từ là gì?\n\nTách từ chia câu thành từ, rồi x_1 và w_i.\nHết * hình\n\n\
             một\nmột rưỡi\nhai\n\na = 1\n\nb\n\ntên | giá\na | 1\n\nThêm\n\nchú thích"
        );
        assert_eq!(readable(""), "");
        assert_eq!(readable("<!-- a\n\n<b> -->\nc"), "c");
        assert_eq!(readable("<!-- a\n<b"), "<!-- a\n<b");
        assert_eq!(readable("Câu **đậm"), "Câu **đậm");
    }
}
