//! The encoding of a web page, as browsers look for it: what a `<meta>` or an `<?xml … ?>` declares,
//! and not what stands in comments, scripts or other attributes.

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

/// Elements whose content is not markup.
const RAW: [&str; 8] =
    ["script", "style", "title", "textarea", "iframe", "noembed", "noframes", "xmp"];
/// Attributes of a tag that are looked at.
const MAX_ATTRIBUTES: usize = 64;

/// The encoding of a page in which no mark, and no UTF-8, says it.
pub(crate) fn of_page(bytes: &[u8]) -> &'static Encoding {
    match declared(bytes) {
        // To whoever looks for UTF-8, it is nothing but ASCII.
        Some(encoding) if encoding == ISO_2022_JP => encoding,
        _ if is_nearly_utf8(bytes) => UTF_8,
        // Windows-1252 is what browsers take, because pages without a word are in it. So are those
        // that only claim to be in UTF-8.
        Some(encoding) if encoding != UTF_8 => encoding,
        _ => WINDOWS_1252,
    }
}

/// Whether far more letters are encoded rightly in UTF-8 than wrongly: a page with a few broken bytes.
fn is_nearly_utf8(bytes: &[u8]) -> bool {
    let (mut letters, mut broken) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        letters += chunk.valid().bytes().filter(|&byte| byte >= 0xc0).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    letters >= 4 * broken
}

/// What a page, or another file of XML, declares, if that is an encoding.
pub(crate) fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    if bytes.trim_ascii_start().starts_with(b"<?xml") {
        let end = bytes.iter().position(|&byte| byte == b'>').unwrap_or(bytes.len());
        let declaration = bytes[..end].to_ascii_lowercase();
        if let Some(encoding) = value_after(&declaration, b"encoding").and_then(of_label) {
            return Some(encoding);
        }
    }
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[at + 1..];
        match rest.first() {
            Some(b'!') if rest.starts_with(b"!--") => rest = after(&rest[1..], b"-->"),
            Some(b'!' | b'?') => rest = after(rest, b">"),
            Some(b'/') if rest.get(1).is_some_and(u8::is_ascii_alphabetic) => {
                rest = Tag::read(&rest[1..]).1;
            }
            Some(b'a'..=b'z' | b'A'..=b'Z') => {
                let (tag, after_tag) = Tag::read(rest);
                rest = after_tag;
                if let Some(encoding) = tag.encoding() {
                    return Some(encoding);
                }
                if let Some(name) = RAW.iter().find(|name| tag.is(name)) {
                    rest = after_element(rest, name);
                }
            }
            _ => {}
        }
    }
    None
}

/// A start tag.
struct Tag<'b> {
    name: &'b [u8],
    attributes: Vec<(&'b [u8], &'b [u8])>,
}

impl<'b> Tag<'b> {
    /// The tag, and what follows it.
    fn read(bytes: &'b [u8]) -> (Self, &'b [u8]) {
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
        let end = bytes.iter().position(&is_end).unwrap_or(bytes.len());
        let mut tag = Self { name: &bytes[..end], attributes: Vec::new() };
        let mut rest = &bytes[end..];
        loop {
            let start = rest.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'/');
            rest = &rest[start.unwrap_or(rest.len())..];
            match rest.first() {
                None => return (tag, rest),
                Some(b'>') => return (tag, &rest[1..]),
                Some(_) => {}
            }
            // A name may begin with `=`.
            let end = rest[1..].iter().position(|byte| is_end(byte) || *byte == b'=');
            let (name, after_name) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            let (value, after_value) = match after_name.trim_ascii_start().strip_prefix(b"=") {
                Some(value) => quoted(value.trim_ascii_start()),
                None => (&b""[..], after_name),
            };
            rest = after_value;
            if tag.attributes.len() < MAX_ATTRIBUTES {
                tag.attributes.push((name, value));
            }
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    fn attribute(&self, name: &str) -> Option<&'b [u8]> {
        let mut attributes = self.attributes.iter();
        attributes.find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|it| it.1)
    }

    /// What a `<meta>` declares.
    fn encoding(&self) -> Option<&'static Encoding> {
        if !self.is("meta") {
            return None;
        }
        if let Some(label) = self.attribute("charset") {
            return of_label(label);
        }
        let says_type = self
            .attribute("http-equiv")
            .is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"content-type"));
        let content = self.attribute("content").filter(|_| says_type)?.to_ascii_lowercase();
        value_after(&content, b"charset").and_then(of_label)
    }
}

/// The value of an attribute, and what follows it.
fn quoted(bytes: &[u8]) -> (&[u8], &[u8]) {
    if let Some((&quote @ (b'"' | b'\''), rest)) = bytes.split_first() {
        let end = rest.iter().position(|&byte| byte == quote).unwrap_or(rest.len());
        return (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    }
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
    bytes.split_at(bytes.iter().position(is_end).unwrap_or(bytes.len()))
}

/// What stands after `name` and `=`, in quotes or up to a `;`.
fn value_after<'b>(text: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let mut rest = text;
    while let Some(at) = rest.windows(name.len()).position(|part| part == name) {
        rest = &rest[at + name.len()..];
        if let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") {
            let value = value.trim_ascii_start();
            if value.starts_with(b"\"") || value.starts_with(b"'") {
                return Some(quoted(value).0);
            }
            return value.split(|byte| byte.is_ascii_whitespace() || b";,?".contains(byte)).next();
        }
    }
    None
}

fn of_label(label: &[u8]) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label(label)?;
    // Whoever can read this in single bytes does not read UTF-16.
    if encoding == UTF_16LE || encoding == UTF_16BE {
        return Some(UTF_8);
    }
    Some(if encoding == X_USER_DEFINED { WINDOWS_1252 } else { encoding })
}

/// What follows the first `end`.
fn after<'b>(bytes: &'b [u8], end: &[u8]) -> &'b [u8] {
    let at = bytes.windows(end.len()).position(|part| part == end);
    at.map_or(&[], |at| &bytes[at + end.len()..])
}

/// What follows the end tag of an element whose content is not markup.
fn after_element<'b>(bytes: &'b [u8], name: &str) -> &'b [u8] {
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|part| part == b"</") {
        rest = &rest[at + 2..];
        if rest.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes())) {
            return after(rest, b">");
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(html: &str) -> Option<&'static str> {
        declared(html.as_bytes()).map(Encoding::name)
    }

    #[test]
    fn pages_declare_their_encoding() {
        for html in [
            "<meta charset=\"ISO-8859-1\">",
            "<html><head><META CharSet = latin1 />",
            "<meta http-equiv='Content-Type' content='text/html; charset = windows-1252'>",
            "<meta content=text/html;charset=cp1252 http-equiv=content-type>",
            "<meta http-equiv=\"content-type\" content=\"text/html; charset='x-user-defined'\">",
            "<?xml version='1.0' encoding='iso-8859-1'?><html>",
            "<meta charset=no-such-thing><meta charset=latin1>",
        ] {
            assert_eq!(label(html), Some("windows-1252"), "{html}");
        }
        assert_eq!(label("<?xml version='1.0' encoding='Shift_JIS'?>"), Some("Shift_JIS"));
        assert_eq!(label("<meta charset=utf-16>"), Some("UTF-8"));
        let late = format!("<style>{}</style><meta charset=koi8-r>", "a{}".repeat(5000));
        assert_eq!(label(&late), Some("KOI8-R"));
    }

    #[test]
    fn what_only_looks_like_a_declaration_is_none() {
        for html in [
            "<!-- <meta charset=utf-8> charset=utf-8 -->",
            "<script charset=utf-8>'<meta charset=utf-8>'</script>",
            "<link rel=stylesheet charset=utf-8>",
            "<meta name=description content='charset=utf-8'>",
            "<a title=\"<meta charset='utf-8'>\">",
            "<title><meta charset=utf-8></title>",
            "<!DOCTYPE html><p>charset=utf-8",
            "<metadata charset=utf-8>",
            "<meta charset",
            "<meta charset=",
            "<",
            "",
        ] {
            assert_eq!(label(html), None, "{html}");
            let page = format!("{html}<meta charset=koi8-r>");
            let is_cut = html.ends_with(['=', 't', '<']) && html.starts_with("<m") || html == "<";
            assert!(is_cut || label(&page) == Some("KOI8-R"), "{html}");
        }
    }

    #[test]
    fn a_page_without_a_word_is_in_windows_1252_unless_it_is_nearly_utf8() {
        assert_eq!(of_page(b"<p>caf\xe9, na\xefve"), WINDOWS_1252);
        assert_eq!(of_page(b"<meta charset=utf-16><p>caf\xe9"), WINDOWS_1252);
        let broken = "<meta charset=latin1><p>Tiếng Việt có dấu".as_bytes();
        assert_eq!(of_page(&[broken, b"\xff"].concat()), UTF_8);
        let japanese = b"<meta charset=Shift_JIS>\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd";
        assert_eq!(of_page(japanese), encoding_rs::SHIFT_JIS);
    }
}
