//! Breaks lines between words while their text arrives.

use icu_segmenter::options::LineBreakOptions;
use icu_segmenter::{LineSegmenter, LineSegmenterBorrowed};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::style::{Look, Style};

/// Columns that are always left for text, however narrow the terminal and deep the indentation.
const MIN_TEXT: usize = 12;

/// Longest text without a place to break that waits for one, in bytes: it is longer than a line anyway.
const MAX_WAITING: usize = 512;

/// Breaks lines where the rules of their script allow it (UAX #14), words that are longer than a
/// line anywhere. A word is written once it is complete.
pub struct Wrapper {
    segmenter: LineSegmenterBorrowed<'static>,
    look: Look,
    width: usize,
    column: usize,
    /// Begins every further line of the same paragraph.
    hanging: String,
    /// Text after the last place where the line may break.
    waiting: String,
    /// Where the styles of `waiting` begin, in bytes.
    styles: Vec<(usize, Style)>,
    /// Spaces before `waiting`, written only if it stays on the line.
    spaces: usize,
    style: Style,
    out: String,
}

impl Wrapper {
    pub fn new(look: Look) -> Self {
        Self {
            segmenter: LineSegmenter::new_auto(LineBreakOptions::default()),
            look,
            width: usize::MAX,
            column: 0,
            hanging: String::new(),
            waiting: String::new(),
            styles: Vec::new(),
            spaces: 0,
            style: Style::PLAIN,
            out: String::new(),
        }
    }

    /// What has become certain since the last call.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// Begins a paragraph at the start of a line, with `prefix` before its first line and `hanging`
    /// before the others.
    pub fn begin(&mut self, width: usize, prefix: &str, hanging: &str) {
        self.width = width;
        self.out.push_str(prefix);
        self.column = prefix.width();
        hanging.clone_into(&mut self.hanging);
        if self.column + MIN_TEXT > width {
            self.hanging.clear();
        }
    }

    /// Appends text of the paragraph, without line breaks.
    pub fn push(&mut self, text: &str, style: Style) {
        if self.styles.last().is_none_or(|&(_, last)| last != style) {
            self.styles.push((self.waiting.len(), style));
        }
        self.waiting.extend(text.chars().map(|c| if c == '\t' { ' ' } else { c }));
        let is_inside = |&end: &usize| end > 0 && end < self.waiting.len();
        let breaks = self.segmenter.segment_str(&self.waiting).filter(is_inside);
        let breaks: Vec<usize> = breaks.collect();
        let mut start = 0;
        for end in breaks {
            self.write(start, end);
            start = end;
        }
        if self.waiting.len() - start > MAX_WAITING {
            self.write(start, self.waiting.len());
            start = self.waiting.len();
        }
        self.forget(start);
    }

    /// Appends text that keeps its line, whatever its length.
    pub fn push_raw(&mut self, text: &str, style: Style) {
        self.switch(style);
        self.out.push_str(text);
    }

    /// Ends the paragraph's last word; the line stays open.
    pub fn flush(&mut self) {
        self.write(0, self.waiting.len());
        self.forget(self.waiting.len());
        self.spaces = 0;
        self.switch(Style::PLAIN);
    }

    pub fn end_line(&mut self) {
        self.flush();
        self.out.push('\n');
        self.column = 0;
    }

    /// Writes `waiting[start..end]`, which can only break at its end, on this line or the next.
    fn write(&mut self, start: usize, end: usize) {
        let word = self.waiting[start..end].trim_end_matches(' ');
        let (word_end, width) = (start + word.len(), word.width());
        if width > 0 {
            let is_begun = self.column > self.hanging.width();
            if is_begun && self.column + self.spaces + width > self.width {
                self.next_line();
            } else {
                // A link is not underlined beyond its words.
                self.switch(self.style.common(self.style_at(start)));
                self.column += self.spaces;
                self.out.extend(std::iter::repeat_n(' ', self.spaces));
            }
            self.spaces = 0;
        }
        let word: Vec<(usize, char)> = self.waiting[start..word_end].char_indices().collect();
        for (at, c) in word {
            let width = c.width().unwrap_or(0);
            if width > 0 && self.column + width > self.width {
                self.next_line();
            }
            self.switch(self.style_at(start + at));
            self.out.push(c);
            self.column += width;
        }
        self.spaces += end - word_end;
    }

    fn next_line(&mut self) {
        let style = self.style;
        self.switch(Style::PLAIN);
        self.out.push('\n');
        self.out.push_str(&self.hanging);
        self.column = self.hanging.width();
        self.switch(style);
    }

    fn switch(&mut self, style: Style) {
        style.switch(self.style, self.look, &mut self.out);
        self.style = style;
    }

    fn style_at(&self, at: usize) -> Style {
        let after = self.styles.partition_point(|&(start, _)| start <= at);
        after.checked_sub(1).map_or(Style::PLAIN, |i| self.styles[i].1)
    }

    /// Drops the first `count` bytes of `waiting`, which have been written.
    fn forget(&mut self, count: usize) {
        let style = self.style_at(count);
        self.waiting.drain(..count);
        self.styles.retain(|&(start, _)| start > count);
        self.styles.iter_mut().for_each(|(start, _)| *start -= count);
        self.styles.insert(0, (0, style));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(width: usize, prefix: &str, hanging: &str, text: &str) -> String {
        let mut wrapper = Wrapper::new(Look::Source);
        wrapper.begin(width, prefix, hanging);
        wrapper.push(text, Style::PLAIN);
        wrapper.flush();
        wrapper.take()
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped(20, "", "", "one two three four five"), "one two three four\nfive");
        assert_eq!(
            wrapped(20, "• ", "  ", "one two three four five"),
            "• one two three four\n  five"
        );
        assert_eq!(wrapped(16, "", "", "Xử lý ngôn ngữ tự nhiên"), "Xử lý ngôn ngữ\ntự nhiên");
    }

    #[test]
    fn scripts_without_spaces_break_too_and_wide_letters_count_twice() {
        assert_eq!(wrapped(13, "", "", "自然言語処理は面白い"), "自然言語処理\nは面白い");
        // Not before a full stop.
        assert_eq!(wrapped(12, "", "", "自然言語処理。次"), "自然言語処\n理。次");
        let thai = wrapped(14, "", "", "ภาษาไทยเป็นภาษาที่สวยงาม");
        assert!(thai.lines().count() > 1 && thai.lines().all(|line| line.width() <= 14), "{thai}");
    }

    #[test]
    fn a_word_longer_than_a_line_is_cut_but_not_between_a_letter_and_its_marks() {
        assert_eq!(wrapped(14, "", "", "aaaabbbbccccddddeeee f"), "aaaabbbbccccdd\nddeeee f");
        let marked = "e\u{302}\u{301}".repeat(20);
        let lines = wrapped(13, "", "", &marked);
        assert!(lines.lines().all(|line| line.starts_with('e')), "{lines}");
    }

    #[test]
    fn a_narrow_terminal_gives_up_indentation_before_text() {
        let deep = wrapped(14, "          • ", "            ", "one two three");
        assert_eq!(deep.lines().skip(1).collect::<Vec<_>>().join("|"), "one two three");
    }
}
