//! Data that stands in a text and is none: pictures in `data:` URIs, other base64, minified code.
//!
//! It would make hundreds of passages that nobody searches for, and crowd out those beside it. Its
//! beginning stays, and so does every line end, so that what follows keeps its line.

use std::ops::Range;

use super::structure::newlines;

/// Bytes from which on letters and digits without a break are data. Words are shorter in any
/// language, and so are keys, tokens and nearly all addresses.
const MIN_RUN: usize = 1024;
/// The same, after `data:` and a type, of which this much is looked at.
const MIN_URI: usize = 512;
const URI_HEAD: usize = 128;
/// Bytes from which on lines of base64 are data: a key or certificate is shorter. And the length of
/// such lines.
const MIN_WRAPPED: usize = 4096;
const WRAPPED_LINE: Range<usize> = 48..MIN_RUN;
/// Bytes of a line of minified code.
const MIN_MINIFIED: usize = 4096;
/// What is kept of a run, and of a line of minified code, in bytes.
const KEPT_OF_RUN: usize = 32;
const KEPT_OF_LINE: usize = 160;
/// Different bytes in a run: fewer make a rule or a number, not data.
const MIN_VARIETY: usize = 12;
/// What stands for what was left out.
const MARK: char = '…';

/// How much was left out of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub places: usize,
    pub bytes: usize,
    /// The line or page of the first.
    pub first: u32,
}

impl LeftOut {
    pub fn add(&mut self, other: Self) {
        if self.places == 0 {
            self.first = other.first;
        }
        self.places += other.places;
        self.bytes += other.bytes;
    }
}

/// The text without embedded data, and how much that was, with lines counted from 1; `None` if it has
/// none. Looks at a small share of the bytes of a text that is only text.
pub(crate) fn without_data(text: &str) -> Option<(String, LeftOut)> {
    let bytes = text.as_bytes();
    let mut data = Vec::new();
    runs(bytes, &mut data);
    minified_lines(bytes, &mut data);
    if data.is_empty() {
        return None;
    }
    data.sort_by_key(|span| span.start);
    let mut rest = String::with_capacity(text.len() / 2);
    let mut left_out = LeftOut::default();
    let (mut position, mut line) = (0, 1_u32);
    for span in data {
        let (start, end) = (text.floor_char_boundary(span.start), span.end);
        let Some(kept) = text.get(position..start) else { continue };
        line = line.saturating_add(newlines(kept.as_bytes()));
        left_out.add(LeftOut { places: 1, bytes: end - start, first: line });
        rest.push_str(kept);
        rest.push(MARK);
        let breaks = newlines(&bytes[start..end]);
        rest.extend(std::iter::repeat_n('\n', breaks as usize));
        line = line.saturating_add(breaks);
        position = end;
    }
    rest.push_str(&text[position..]);
    Some((rest, left_out))
}

/// Finds long runs, and many lines, of letters and digits without a break.
fn runs(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    // All that is looked for is longer than a step, so that a probe falls into it.
    const STEP: usize = MIN_URI / 2;
    let (mut seen, mut probe) = (0, STEP - 1);
    while probe < bytes.len() {
        let run = around(bytes, seen, probe, is_of_uri);
        if run.len() >= WRAPPED_LINE.start {
            let lines = wrapped_lines(bytes, seen, &run);
            seen = lines.end.max(run.end);
            if lines.len() >= MIN_WRAPPED {
                found.push(lines.start + KEPT_OF_RUN..lines.end);
            } else {
                data_in(bytes, run, found);
            }
        }
        seen = seen.max(probe);
        probe = seen + STEP;
    }
}

/// The bytes of a kind around the one at `at`, from `from` on; empty if that is of another kind.
fn around(bytes: &[u8], from: usize, at: usize, is_of_kind: fn(u8) -> bool) -> Range<usize> {
    let before = bytes[from..=at].iter().rev().take_while(|&&byte| is_of_kind(byte)).count();
    if before == 0 {
        return at..at;
    }
    let after = bytes[at + 1..].iter().take_while(|&&byte| is_of_kind(byte)).count();
    at + 1 - before..at + 1 + after
}

/// What in a long run is data.
fn data_in(bytes: &[u8], run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let uri = bytes[run.clone()].windows(5).position(|part| part == b"data:");
    if let Some(uri) = uri.map(|at| run.start + at) {
        let head = &bytes[uri..run.end.min(uri + URI_HEAD)];
        let payload = head.iter().position(|&byte| byte == b',').map(|comma| uri + comma + 1);
        if let Some(payload) = payload.filter(|payload| run.end - payload >= MIN_URI) {
            found.push(payload..run.end);
            return;
        }
    }
    let mut start = run.start;
    for part in bytes[run].split(|&byte| !is_base64(byte)) {
        if part.len() >= MIN_RUN && is_varied(part) {
            found.push(start + KEPT_OF_RUN..start + part.len());
        }
        start += part.len() + 1;
    }
}

/// The lines of base64 around one that is; empty if that is none. `from` is where to stop looking
/// back.
fn wrapped_lines(bytes: &[u8], from: usize, line: &Range<usize>) -> Range<usize> {
    let is_line = |line: &[u8]| {
        let line = line.trim_ascii();
        WRAPPED_LINE.contains(&line.len()) && line.iter().all(|&byte| is_base64(byte))
    };
    let line_break = |byte: &u8| *byte == b'\n';
    let indent = |at: usize| {
        let spaces = bytes[from..at].iter().rev().take_while(|&&byte| byte == b' ').count();
        at - spaces
    };
    let mut start = indent(line.start);
    let is_whole = (start == 0 || bytes[start - 1] == b'\n')
        && bytes.get(line.end).is_none_or(line_break)
        && is_line(&bytes[line.clone()])
        && is_varied(&bytes[line.clone()]);
    if !is_whole {
        return line.start..line.start;
    }
    while start > from {
        let above = bytes[from..start - 1].iter().rposition(&line_break);
        let above = above.map_or(from, |at| from + at + 1);
        if !is_line(&bytes[above..start - 1]) {
            break;
        }
        start = above;
    }
    let mut end = line.end;
    while let Some(below) = bytes.get(end + 1..) {
        let length = below.iter().position(line_break).unwrap_or(below.len());
        // The last line is shorter.
        let is_last = (16..WRAPPED_LINE.start).contains(&length) || below[..length].ends_with(b"=");
        let is_last = is_last && below[..length].iter().all(|&byte| is_base64(byte));
        if is_last || is_line(&below[..length]) {
            end += 1 + length;
        }
        if !is_line(&below[..length]) {
            break;
        }
    }
    start..end
}

/// Finds long lines of code without the white space that people put into it.
fn minified_lines(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut start = 0;
    while let Some(head) = bytes.get(start..start + MIN_MINIFIED) {
        if let Some(line_end) = head.iter().rposition(|&byte| byte == b'\n') {
            start += line_end + 1;
            continue;
        }
        let rest = &bytes[start..];
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        if is_minified(&rest[..length]) {
            found.push(start + KEPT_OF_LINE..start + length);
        }
        start += length + 1;
    }
}

/// Whether a line is code and was written by a program. Other data in one line, such as JSON or the
/// rows of a database, says something: it has neither `=` nor `;`.
fn is_minified(line: &[u8]) -> bool {
    let (mut spaces, mut foreign, mut statements, mut groups) = (0, 0, 0, 0);
    for byte in line {
        match byte {
            b' ' | b'\t' => spaces += 1,
            b'=' | b';' => statements += 1,
            b'(' | b'{' => groups += 1,
            0x80.. => foreign += 1,
            _ => {}
        }
    }
    let is_at_least = |count: usize, percent: usize| count * 100 >= line.len() * percent;
    is_at_least(statements, 2)
        && is_at_least(groups, 2)
        && !is_at_least(spaces, 8)
        && !is_at_least(foreign, 5)
}

fn is_varied(run: &[u8]) -> bool {
    let mut seen = [false; 256];
    run.iter().take(MIN_RUN).for_each(|&byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|&&seen| seen).count() >= MIN_VARIETY
}

/// Letters, digits, and what base64 and its kin have besides.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)
}

/// What a URI in Markdown, HTML or code has: no quotes, brackets or white space.
fn is_of_uri(byte: u8) -> bool {
    is_base64(byte) || b"%.:;,'!*~&$?#@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(bytes: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = crate::support::random::SplitMix64::new(7);
        (0..bytes).map(|_| char::from(LETTERS[random.below(64)])).collect()
    }

    fn rest(text: &str) -> String {
        without_data(text).map_or_else(|| text.to_owned(), |(rest, _)| rest)
    }

    #[test]
    fn the_data_of_a_uri_goes_and_its_caption_stays() {
        for shift in [0, 1, 100, 255, 511] {
            let before = "chữ ".repeat(shift);
            let data = base64(3000);
            let text = format!("{before}\n![sơ đồ](data:image/png;base64,{data})\nsau");
            let (rest, left_out) = without_data(&text).unwrap();
            assert_eq!(rest, format!("{before}\n![sơ đồ](data:image/png;base64,…)\nsau"));
            assert_eq!(left_out, LeftOut { places: 1, bytes: 3000, first: 2 });
        }
        let svg = "%3Cpath%20d='M0,0L9.5,3'/%3E".repeat(50);
        let text = format!("a {{ background: url(\"data:image/svg+xml,{svg}\"); }}");
        assert_eq!(rest(&text), "a { background: url(\"data:image/svg+xml,…\"); }");
        let two = format!("x data:a/b,{0} y <data:a/b;base64,{0}>", base64(600));
        assert_eq!(rest(&two), "x data:a/b,… y <data:a/b;base64,…>");
    }

    #[test]
    fn other_runs_and_lines_of_base64_keep_their_beginning() {
        let data = base64(2000);
        let text = format!("khóa = \"{data}\"\nsau");
        assert_eq!(rest(&text), format!("khóa = \"{}…\"\nsau", &data[..KEPT_OF_RUN]));
        let data = base64(76 * 100);
        let lines: Vec<&str> = (0..100).map(|n| &data[n * 76..][..76]).collect();
        let text = format!("trước\n  {}\nAB==\nsau", lines.join("\n  "));
        let (rest, left_out) = without_data(&text).unwrap();
        assert_eq!(rest.matches('\n').count(), text.matches('\n').count());
        assert!(rest.starts_with(&format!("trước\n  {}", &data[..20])));
        assert!(rest.trim_end().ends_with("\nsau") && rest.len() < 200, "{rest}");
        assert_eq!((left_out.places, left_out.first), (1, 2));
    }

    #[test]
    fn minified_code_keeps_its_beginning() {
        let code = "function a(b,c){return b.d=c?1:e(b);}var f=g(h,function(){i=j});";
        let text = format!("/* giấy phép */\n{}\nsau", code.repeat(200));
        let (rest, left_out) = without_data(&text).unwrap();
        assert!(rest.starts_with("/* giấy phép */\nfunction a(b,c)"));
        assert!(rest.ends_with("…\nsau") && rest.len() < 250);
        assert_eq!((left_out.places, left_out.first), (1, 2));
        let css = ".a{color:#fff;margin:0}.b>c{padding:1px 2px;}".repeat(200);
        assert!(rest_len(&css) < 200);
    }

    fn rest_len(text: &str) -> usize {
        rest(text).len()
    }

    #[test]
    fn text_stays() {
        let texts = [
            "漢字仮名交じり文".repeat(1000),
            "ภาษาไทยไม่มีช่องว่าง".repeat(1000),
            "Một câu dài, có dấu. ".repeat(1000),
            "a sentence = (of) prose; with signs. ".repeat(1000),
            "-".repeat(5000),
            "=".repeat(5000),
            "0123456789".repeat(500),
            "{\"id\":12,\"name\":\"Nam\",\"tags\":[1,2]},".repeat(500),
            "(1,'Nguyen Van A','a@b.vn'),".repeat(500),
            "https://a.vn/b?c=d&e=".repeat(40),
            "0.123,-4.56,".repeat(900),
            format!("{}\n", base64(64)).repeat(20),
            "thư/mục/rất-dài_".repeat(500),
            "word\n".repeat(5000),
        ];
        for text in texts {
            assert_eq!(
                without_data(&text),
                None,
                "{:?}",
                text.chars().take(40).collect::<String>()
            );
        }
    }

    #[test]
    fn hostile_text_takes_linear_time() {
        let begin = std::time::Instant::now();
        let line = format!("{}\n", base64(60));
        for part in ["data:", "data:,", "a", "ab\n", "A,", &line, &line[..40], "\n", " a=b;(", "ế"]
        {
            let _ = without_data(&part.repeat((4 << 20) / part.len()));
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    }
}
