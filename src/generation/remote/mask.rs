//! Hides the API key in whatever a server says, in any form in which it may repeat it.
//!
//! A key comes back as it is, with characters escaped (JSON, URL, HTML), in Base64 or hexadecimal,
//! and cut into pieces of a stream. Everything that a server says goes through a [`Mask`] before it
//! leaves this room: texts and reasoning through [`Masked`], the rest through [`Mask::hide`].

use std::fmt::{self, Write};

/// Stands for a key.
const HIDDEN: &str = "…";
/// Shorter values are no secrets, and could not be told from words.
const MIN_BYTES: usize = 4;
/// What documentation of local servers tells people to set where a key is required but not checked.
const PLACEHOLDERS: &[&str] = &[
    "empty",
    "none",
    "null",
    "dummy",
    "local",
    "test",
    "ollama",
    "lm-studio",
    "lmstudio",
    "llama.cpp",
    "vllm",
    "sk-no-key-required",
    "no-key",
    "no-key-needed",
    "not-needed",
    "anything",
];
/// Base64 of the key starts at one of three places within a group of three bytes.
const ALIGNMENTS: [usize; 3] = [0, 1, 2];
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What to hide; nothing without a key.
#[derive(Clone, Default)]
pub struct Mask {
    forms: Vec<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

/// How a text compares with a form of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    /// Its first bytes, this many, are the key.
    Whole(usize),
    /// It is a beginning of the key.
    Begun,
    No,
}

impl Mask {
    /// Hides `secret`, which is ASCII.
    pub fn of(secret: &str) -> Self {
        let is_word = PLACEHOLDERS.contains(&secret.to_ascii_lowercase().as_str());
        if secret.len() < MIN_BYTES || is_word {
            return Self::default();
        }
        let mut forms = vec![secret.to_owned(), hex(secret)];
        forms.extend(ALIGNMENTS.map(|alignment| base64(secret, alignment)));
        // Of a short key, too little is left between the ends that depend on what surrounds it.
        forms.retain(|form| form.len() >= MIN_BYTES);
        Self { forms }
    }

    /// `text` without the key.
    pub fn hide(&self, text: &str) -> String {
        let mut masked = self.stream();
        let mut shown = masked.push(text);
        shown.push_str(&masked.finish());
        shown
    }

    /// Hides the key in a text that comes in pieces.
    pub fn stream(&self) -> Masked<'_> {
        Masked { mask: self, pending: String::new() }
    }

    fn at(&self, text: &str) -> Match {
        let mut begun = false;
        for form in &self.forms {
            match written_as(text, form) {
                Match::Whole(length) => return Match::Whole(length),
                Match::Begun => begun = true,
                Match::No => {}
            }
        }
        if begun { Match::Begun } else { Match::No }
    }
}

/// A text that comes in pieces, without the key.
pub struct Masked<'a> {
    mask: &'a Mask,
    /// What may be the beginning of the key.
    pending: String,
}

impl Masked<'_> {
    /// What can be shown after the next piece.
    pub fn push(&mut self, piece: &str) -> String {
        self.pending.push_str(piece);
        self.take(false)
    }

    /// The rest.
    pub fn finish(&mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, is_end: bool) -> String {
        if self.mask.forms.is_empty() {
            return std::mem::take(&mut self.pending);
        }
        let mut shown = String::with_capacity(self.pending.len());
        let mut at = 0;
        while let Some(c) = self.pending[at..].chars().next() {
            match self.mask.at(&self.pending[at..]) {
                Match::Whole(length) => {
                    shown.push_str(HIDDEN);
                    at += length;
                }
                Match::Begun if !is_end => break,
                Match::Begun | Match::No => {
                    shown.push(c);
                    at += c.len_utf8();
                }
            }
        }
        self.pending.drain(..at);
        shown
    }
}

/// Compares the start of `text` with `form`, each character of which may be escaped.
fn written_as(text: &str, form: &str) -> Match {
    let Some(c) = form.chars().next() else { return Match::Whole(0) };
    let rest = &form[c.len_utf8()..];
    let mut begun = text.is_empty();
    for spelling in spellings(text, c) {
        let compared = text.len().min(spelling.len());
        if !text.as_bytes()[..compared].eq_ignore_ascii_case(&spelling.as_bytes()[..compared]) {
            continue;
        }
        if compared < spelling.len() {
            begun = true;
            continue;
        }
        match written_as(&text[compared..], rest) {
            Match::Whole(length) => return Match::Whole(compared + length),
            Match::Begun => begun = true,
            Match::No => {}
        }
    }
    if begun { Match::Begun } else { Match::No }
}

/// How `c` may be written, if `text` begins with it.
fn spellings(text: &str, c: char) -> Vec<String> {
    let itself = c.to_string();
    if !text.starts_with(['\\', '%', '&']) {
        return vec![itself];
    }
    let code = u32::from(c);
    // JSON within JSON doubles the backslashes.
    let slashes = text.bytes().take_while(|&byte| byte == b'\\').count();
    let slashed = |rest: &str| format!("{}{rest}", "\\".repeat(slashes.max(1)));
    let mut spellings = vec![
        slashed(&format!("u{code:04x}")),
        slashed(&format!("x{code:02x}")),
        slashed(&itself),
        format!("%{code:02x}"),
        format!("%25{code:02x}"),
        format!("&#{code};"),
        format!("&#x{code:x};"),
        itself,
    ];
    let names = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;")];
    spellings.extend(names.iter().filter(|(named, _)| *named == c).map(|(_, name)| (*name).into()));
    spellings
}

fn hex(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The characters of Base64 that depend on `secret` alone, if `alignment` bytes precede it in its
/// group of three.
fn base64(secret: &str, alignment: usize) -> String {
    let bytes: Vec<u8> = std::iter::repeat_n(0, alignment).chain(secret.bytes()).collect();
    let bit = |at: usize| (bytes[at / 8] >> (7 - at % 8)) & 1;
    let first = (8 * alignment).div_ceil(6);
    let characters = first..8 * bytes.len() / 6;
    let index =
        |character: usize| (6 * character..6 * character + 6).fold(0, |n, at| 2 * n + bit(at));
    characters.map(|character| char::from(BASE64[usize::from(index(character))])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-test/0123456789&abc";

    #[test]
    fn a_key_is_hidden_in_every_form() {
        let mask = Mask::of(SECRET);
        for form in [
            SECRET,
            "SK-TEST/0123456789&ABC",
            r"sk-test\/0123456789\u0026abc",
            r"sk-test\\/0123456789\\u0026abc",
            r"\u0073\u006b-test/0123456789\x26abc",
            "sk-test%2F0123456789%26abc",
            "sk-test%252f0123456789%2526abc",
            "sk-test/0123456789&amp;abc",
            "sk-test&#x2F;0123456789&#38;abc",
            "736b2d746573742f3031323334353637383926616263",
        ] {
            assert_eq!(mask.hide(&format!("key {form}!")), "key …!", "{form}");
        }
        // By Python: base64.b64encode(b"Bearer " + key), and of the key alone.
        for encoded in
            ["QmVhcmVyIHNrLXRlc3QvMDEyMzQ1Njc4OSZhYmM=", "c2stdGVzdC8wMTIzNDU2Nzg5JmFiYw=="]
        {
            let hidden = mask.hide(encoded);
            assert!(hidden.contains('…') && !hidden.contains("zdC8wMTIz"), "{hidden}");
            assert!(hidden.len() < 20, "{hidden}");
        }
    }

    #[test]
    fn a_key_is_hidden_however_it_is_cut() {
        let mask = Mask::of(SECRET);
        let text = format!("A {SECRET} and sk-test, {} B", SECRET.replace('&', "\\u0026"));
        for size in 1..text.len() {
            let mut masked = mask.stream();
            let pieces: Vec<&str> = text
                .as_bytes()
                .chunks(size)
                .map(|piece| std::str::from_utf8(piece).unwrap())
                .collect();
            let mut shown: String = pieces.into_iter().map(|piece| masked.push(piece)).collect();
            shown.push_str(&masked.finish());
            assert_eq!(shown, "A … and sk-test, … B", "{size}");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let text = r"Tiếng Việt 🎯 50% & \n sk-test/0 %2F &amp; ollama EMPTY";
        for secret in [SECRET, "ollama", "EMPTY", "k", "lm-studio"] {
            assert_eq!(Mask::of(secret).hide(text), text, "{secret}");
        }
        assert_eq!(Mask::default().stream().push("s"), "s");
    }
}
