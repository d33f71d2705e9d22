//! Subtitles (SRT, `WebVTT`): what is said, with the times at which it is said.

use std::fs::File;
use std::path::Path;

use super::plain_text;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::{Marks, Places, Structure};

/// A pause of so many milliseconds begins a new paragraph.
const PAUSE: u64 = 5000;

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let (text, omitted) = plain_text::text(file, path)?;
    Ok(Contents::One(Extract { omitted, ..extract(&text) }))
}

fn extract(file: &str) -> Extract {
    let mut said = Said::default();
    let mut lines = file.lines().peekable();
    // Where no cue has begun yet, and in notes and styles, there is nothing to say.
    let mut in_cue = false;
    while let Some(line) = lines.next() {
        if let Some((from, until)) = timing(line) {
            said.begin(from, until);
            in_cue = true;
        } else if line.trim().is_empty() {
            // Some cues have blank lines in them; what follows belongs to none only if it says so.
            let next = lines.peek().map_or("", |next| next.trim());
            in_cue &= !["NOTE", "STYLE", "REGION"].iter().any(|word| next.starts_with(word));
        } else {
            // The number or name of a cue stands right above its times.
            let names_a_cue = lines.peek().is_some_and(|next| timing(next).is_some());
            if in_cue && !names_a_cue {
                said.line(&without_tags(line));
            }
        }
    }
    said.finish()
}

/// What is said at a time, in milliseconds.
struct Cue {
    begins: u64,
    ends: u64,
    lines: Vec<String>,
}

/// In the order of the file.
#[derive(Default)]
struct Said(Vec<Cue>);

impl Said {
    fn begin(&mut self, from: u64, until: u64) {
        self.0.push(Cue { begins: from, ends: until.max(from), lines: Vec::new() });
    }

    fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(cue) = self.0.last_mut().filter(|_| !line.is_empty()) {
            cue.lines.push(line.to_owned());
        }
    }

    /// The cues in the order in which players show them, whatever their order in the file.
    fn finish(mut self) -> Extract {
        self.0.sort_by_key(|cue| cue.begins);
        let (mut text, mut from, mut until) = (String::new(), Marks::new(), Marks::new());
        let (mut last_line, mut last_end, mut is_after_a_pause) = ("", 0, false);
        let seconds = |milliseconds: u64| u32::try_from(milliseconds).unwrap_or(u32::MAX);
        for cue in &self.0 {
            is_after_a_pause |= cue.begins > last_end + PAUSE;
            // A cue may end after others that begin later.
            last_end = cue.ends.max(last_end);
            for line in &cue.lines {
                // Captions that roll repeat the line before.
                if line == last_line {
                    continue;
                }
                last_line = line;
                if !text.is_empty() {
                    text.push_str(if is_after_a_pause { "\n\n" } else { "\n" });
                }
                is_after_a_pause = false;
                from.push((text.len(), seconds(cue.begins / 1000)));
                until.push((text.len(), seconds(last_end.div_ceil(1000))));
                text.push_str(line);
            }
        }
        let structure =
            Structure { places: Places::Seconds { from, until }, ..Structure::default() };
        Extract { text, structure, ..Extract::default() }
    }
}

/// The milliseconds of `00:01:02,500 --> 00:01:04.000 align:start`.
fn timing(line: &str) -> Option<(u64, u64)> {
    let (from, until) = line.split_once("-->")?;
    Some((time(from.trim())?, time(until.split_whitespace().next()?)?))
}

/// The milliseconds of `01:02:03,500`, in which hours, and in some files milliseconds, may be missing.
fn time(text: &str) -> Option<u64> {
    let (clock, fraction) = text.split_once([',', '.']).unwrap_or((text, "0"));
    let mut seconds: u64 = 0;
    for part in clock.split(':') {
        let part: u32 = part.trim().parse().ok()?;
        seconds = seconds.checked_mul(60)?.checked_add(part.into())?;
    }
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    seconds.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

/// A line as it is shown: `<i>`, `<v Name>`, `{\an8}` and the times of karaoke say how, and who.
fn without_tags(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['<', '{', '&']) {
        let (before, tag) = rest.split_at(at);
        shown.push_str(before);
        let (taken, text) = tag_or_entity(tag);
        shown.push_str(&text);
        rest = &tag[taken..];
    }
    shown.push_str(rest);
    shown
}

/// The length of what a line has in place of text, and the text for it.
fn tag_or_entity(tag: &str) -> (usize, String) {
    let entities = [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&nbsp;", " "),
        ("&lrm;", ""),
        ("&rlm;", ""),
    ];
    if let Some((entity, text)) = entities.iter().find(|(entity, _)| tag.starts_with(entity)) {
        return (entity.len(), (*text).to_owned());
    }
    let is_tag = matches!(
        tag.as_bytes(),
        [b'{', b'\\', ..] | [b'<', b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9', ..]
    );
    let end = tag.find(if tag.starts_with('{') { '}' } else { '>' });
    match end.filter(|_| is_tag) {
        Some(end) => {
            let speaker = tag[..end].strip_prefix("<v").and_then(|name| name.split_once(' '));
            (end + 1, speaker.map_or(String::new(), |(_, name)| format!("{}: ", name.trim())))
        }
        // A sign of the text: `a < b`.
        None => (1, tag[..1].to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::documents::samples::documents;
    use crate::documents::structure::LineCounter;
    use crate::documents::{Document, Place};

    fn document(name: &str, text: &str) -> Document {
        let (_folder, mut documents) = documents(name, text);
        documents.remove(0).unwrap()
    }

    fn times(document: &Document, part: &str) -> Option<Place> {
        let at = document.text.find(part).unwrap();
        let mut lines = LineCounter::new(&document.text);
        document.structure.places.of(&(at..at + part.len()), &mut lines)
    }

    #[test]
    fn srt_is_text_with_times() {
        let srt = "\u{feff}1\r\n00:00:01,500 --> 00:00:04,000\r\n<i>Xin chào</i> các bạn,\r\n{\\an8}hôm nay\r\n\r\n\
                   2\r\n00:00:04,100 --> 00:00:06,900\r\nta học về Rust.\r\n\r\n\
                   3\r\n00:01:05,000 --> 00:01:20,000\r\n42\r\n\r\n-- hết &amp; a < b\r\n";
        let document = document("a.srt", srt);
        assert_eq!(
            document.text,
            "Xin chào các bạn,\nhôm nay\nta học về Rust.\n\n42\n-- hết & a < b"
        );
        assert_eq!(times(&document, "hôm nay\nta"), Some(Place::Seconds(1, 7)));
        assert_eq!(times(&document, "42"), Some(Place::Seconds(65, 80)));
    }

    #[test]
    fn vtt_has_notes_styles_names_and_rolling_lines() {
        let vtt = "WEBVTT - tựa\nKind: captions\n\nNOTE không\nphải lời\n\nSTYLE\n::cue { }\n\n\
                   mở đầu\n00:01.000 --> 00:02.500 align:start\n<v An Nguyễn>Chào <c.x>chị</c>\n\n\
                   00:02.500 --> 00:04.000\nChào chị\n<00:00:03.000><c>khoẻ</c> không\n\n\
                   00:04.000 --> 00:05.000\nkhoẻ không\nnhé\n";
        let document = document("a.vtt", vtt);
        assert_eq!(document.text, "An Nguyễn: Chào chị\nChào chị\nkhoẻ không\nnhé");
        assert_eq!(times(&document, "nhé"), Some(Place::Seconds(4, 5)));
    }

    /// Places run forward, though cues may be out of order, or end after those that follow.
    #[test]
    fn cues_are_read_in_the_order_of_their_times() {
        let srt = "1\n00:01:26,000 --> 00:01:30,000\nsau\n\n2\n00:00:50,000 --> 00:01:00,000\ntrước\n\n\
                   3\n00:00:52,000 --> 00:00:54,000\nxen vào\n";
        let document = document("a.srt", srt);
        assert_eq!(document.text, "trước\nxen vào\n\nsau");
        assert_eq!(times(&document, "xen vào"), Some(Place::Seconds(52, 60)));
        assert_eq!(times(&document, "trước\nxen vào\n\nsau"), Some(Place::Seconds(50, 90)));
    }

    #[test]
    fn odd_files_end() {
        assert_eq!(document("a.srt", "").text, "");
        assert_eq!(document("a.srt", "99999999999999999999:00 --> x\nchữ").text, "");
        assert_eq!(document("a.srt", "0:0:1 --> 0:0:2\n<<<{{{&&&<x").text, "<<<{{{&&&<x");
    }
}
