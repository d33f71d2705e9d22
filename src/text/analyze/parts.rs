//! The parts of an identifier: `atomic_write_json`, `getUserName`, `HTTPServer`, `foo.bar`, `utf8`.

/// More parts than this between two signs are no words but a code (base64, a long hash).
const MAX_PARTS_OF_RUN: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Lower,
    Upper,
    Digit,
    /// Belongs to what is before it: a mark, an apostrophe.
    Other,
}

/// The parts of a word of `words`, in order; none if it is not made of any.
///
/// It is parted at signs (but not within 3.5), between letters and digits, and where a capital begins
/// a word. Initials (U.S, e.g) are no parts.
pub(super) fn parts(word: &str) -> Vec<&str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Vec::new();
    }
    let mut parts = Vec::new();
    for run in runs(word) {
        let from = parts.len();
        let mut start = 0;
        for border in borders(run) {
            parts.push(&run[start..border]);
            start = border;
        }
        parts.push(&run[start..]);
        if parts.len() - from > MAX_PARTS_OF_RUN {
            parts.truncate(from);
            parts.push(run);
        }
    }
    let is_initial = |part: &&str| part.chars().nth(1).is_none();
    let is_whole = parts.len() == 1 && parts[0] == word;
    if is_whole || parts.len() > 1 && parts.iter().all(is_initial) {
        parts.clear();
    }
    parts
}

/// What lies between signs. A sign between two digits is part of their number.
fn runs(word: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut start = 0;
    for (at, sign) in word.match_indices(['_', '.', ':', ',', ';', '·', '‿']) {
        let end = at + sign.len();
        let in_number = sign != "_"
            && word[..at].ends_with(|c: char| c.is_ascii_digit())
            && word[end..].starts_with(|c: char| c.is_ascii_digit());
        if !in_number {
            runs.push(&word[start..at]);
            start = end;
        }
    }
    runs.push(&word[start..]);
    runs.retain(|run| run.contains(char::is_alphanumeric));
    runs
}

/// Where the parts of a word without signs begin, but for the first.
fn borders(run: &str) -> Vec<usize> {
    let mut borders = Vec::new();
    let mut before = Class::Other;
    // Where the last capital of a run of them is.
    let mut capital: Option<usize> = None;
    for (at, c) in run.char_indices() {
        let class = class(c);
        match (before, class) {
            (_, Class::Other) => continue,
            (Class::Lower, Class::Upper) | (Class::Digit, Class::Lower | Class::Upper) => {
                borders.push(at);
            }
            (Class::Lower | Class::Upper, Class::Digit) => {
                let letters = &run[borders.last().copied().unwrap_or(0)..at];
                if !is_like_m2(letters, &run[at..]) {
                    borders.push(at);
                }
            }
            // The last of several capitals begins the next word; the s of a plural (PDFs) does not.
            (Class::Upper, Class::Lower) if &run[at..] != "s" => borders.extend(capital),
            _ => {}
        }
        capital = (before == Class::Upper && class == Class::Upper).then_some(at);
        before = class;
    }
    borders
}

/// Whether letters and the digit after them are one word: m2, A4, Q3.
fn is_like_m2(letters: &str, rest: &str) -> bool {
    let is_digit = |c: char| class(c) == Class::Digit;
    let mut digits = rest.chars().take_while(|&c| is_digit(c));
    letters.chars().nth(1).is_none() && digits.nth(1).is_none()
}

fn class(c: char) -> Class {
    match c {
        '.' | ',' => Class::Digit,
        _ if c.is_ascii_digit() => Class::Digit,
        _ if c.is_uppercase() => Class::Upper,
        _ if c.is_alphabetic() => Class::Lower,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_parts() {
        for (word, expected) in [
            ("atomic_write_json", "atomic write json"),
            ("__init__", "init"),
            ("trọng_", "trọng"),
            ("getUserName", "get User Name"),
            ("HTTPServer", "HTTP Server"),
            ("parseHTTP", "parse HTTP"),
            ("MAX_VALUE", "MAX VALUE"),
            ("utf8", "utf 8"),
            ("sha256sum", "sha 256 sum"),
            ("COVID19", "COVID 19"),
            ("foo.bar", "foo bar"),
            ("v1.2.3", "v 1.2.3"),
            ("45m2", "45 m2"),
            ("m2", ""),
            ("H5N1", "H5 N1"),
            ("1.000.000đ", "1.000.000 đ"),
            ("thúc.Bắt", "thúc Bắt"),
            ("TP.HCM", "TP HCM"),
            ("ĐạiHọc", "Đại Học"),
            ("ĐẠI", ""),
            ("Đại", ""),
            ("PDFs", ""),
            ("U.S", ""),
            ("3.5", ""),
            ("1_000", "1 000"),
            ("can't", ""),
            ("e\u{301}T", "e\u{301} T"),
            ("ภาษา", ""),
        ] {
            assert_eq!(parts(word).join(" "), expected, "{word}");
        }
    }

    #[test]
    fn codes_have_none_and_long_names_have_all() {
        assert_eq!(parts(&"aB3".repeat(9)), [""; 0]);
        assert_eq!(parts(&["name"; 40].join("_")).len(), 40);
    }
}
