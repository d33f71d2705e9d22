//! XHTML as HTML: what XML writes in its own way, put into words that a reader of HTML knows.
//!
//! Empty scripts and titles get end tags, CDATA becomes text, and entities that the file defines
//! itself are replaced. Everything else stays as it is, and on its line.

use std::borrow::Cow;
use std::collections::HashMap;

/// Elements whose content is not markup in HTML, so that an empty one would go on.
const RAW: [&str; 10] = [
    "script",
    "style",
    "title",
    "textarea",
    "iframe",
    "xmp",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
];
/// Entities that a file may define, and bytes that one may stand for.
const MAX_ENTITIES: usize = 1024;
const MAX_ENTITY: usize = 4096;
/// Bytes of an entity's name.
const MAX_NAME: usize = 64;
/// Bytes of all replaced entities of a file: beyond it they are left as they are written.
const MAX_EXPANDED: usize = 4 << 20;

pub(super) fn as_html(xhtml: &str) -> String {
    let mut rewriter = Rewriter {
        rest: xhtml,
        out: String::with_capacity(xhtml.len() + xhtml.len() / 16),
        entities: HashMap::new(),
        expanded: 0,
    };
    while let Some(at) = rewriter.rest.find(['<', '&']) {
        rewriter.keep(at);
        rewriter.step();
    }
    rewriter.keep(rewriter.rest.len());
    rewriter.out
}

struct Rewriter<'x> {
    rest: &'x str,
    out: String,
    entities: HashMap<&'x str, String>,
    expanded: usize,
}

impl<'x> Rewriter<'x> {
    /// Copies the next bytes.
    fn keep(&mut self, bytes: usize) {
        let (kept, rest) = self.rest.split_at(bytes);
        self.out.push_str(kept);
        self.rest = rest;
    }

    /// Takes what comes before the first `end`, and leaves that out.
    fn take_to(&mut self, end: &str) -> &'x str {
        let (taken, rest) = self.rest.split_once(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Line breaks of what is left out, so that lines are counted on.
    fn keep_lines(&mut self, left_out: &str) {
        self.out.extend(left_out.matches('\n'));
    }

    /// What begins with `<` or `&`.
    fn step(&mut self) {
        if self.rest.starts_with('&') {
            self.entity();
        } else if self.rest.starts_with("<!--") {
            let end = self.rest.find("-->").map_or(self.rest.len(), |end| end + 3);
            self.keep(end);
        } else if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
            self.rest = rest;
            let text = self.take_to("]]>");
            self.out.push_str(&escaped(text));
        } else if self.rest.starts_with("<?") {
            let left_out = self.take_to("?>");
            self.keep_lines(left_out);
        } else if self.rest.starts_with("<!") {
            self.doctype();
        } else {
            self.tag();
        }
    }

    fn entity(&mut self) {
        let defined = reference(self.rest)
            .and_then(|name| self.entities.get(name).map(|value| (name, value)))
            .filter(|(_, value)| self.expanded + value.len() <= MAX_EXPANDED);
        if let Some((name, value)) = defined {
            self.expanded += value.len();
            self.out.push_str(value);
            self.rest = &self.rest[name.len() + 2..];
        } else {
            self.keep(1);
        }
    }

    fn tag(&mut self) {
        let is_tag = self.rest[1..].starts_with(|c: char| c.is_alphabetic() || "/_".contains(c));
        let end = if is_tag { tag_end(self.rest).unwrap_or(self.rest.len()) } else { 1 };
        let tag = &self.rest[..end];
        let name = tag[1..].split(|c: char| c.is_whitespace() || "/>".contains(c)).next();
        let name = name.unwrap_or_default();
        let local = name.rsplit(':').next().unwrap_or_default();
        match tag.strip_suffix("/>") {
            Some(start) if RAW.contains(&local) => {
                self.out.extend([start, "></", name, ">"]);
                self.rest = &self.rest[end..];
            }
            // A program has no tags.
            None if matches!(local, "script" | "style") => {
                self.keep(end);
                self.keep(self.rest.find(&format!("</{name}")).unwrap_or(self.rest.len()));
            }
            _ => self.keep(end),
        }
    }

    /// The document type with the entities that it defines.
    fn doctype(&mut self) {
        let declaration = self.rest;
        let is_doctype = declaration.get(2..9).is_some_and(|it| it.eq_ignore_ascii_case("DOCTYPE"));
        let end = tag_end(declaration).unwrap_or(declaration.len());
        let Some(subset) = declaration[..end].find('[').filter(|_| is_doctype) else {
            return self.keep(end);
        };
        self.rest = &declaration[subset + 1..];
        while let Some(at) = self.rest.find(['<', ']']) {
            self.rest = &self.rest[at..];
            if self.rest.starts_with(']') {
                break;
            } else if self.rest.starts_with("<!--") {
                self.take_to("-->");
            } else if self.rest.starts_with("<?") {
                self.take_to("?>");
            } else {
                let end = tag_end(self.rest).unwrap_or(self.rest.len());
                self.define(&self.rest[..end]);
                self.rest = &self.rest[end..];
            }
        }
        if self.rest.is_empty() || !self.rest.starts_with(']') {
            // It does not end: what follows is the page.
            self.rest = &declaration[end..];
        } else {
            self.take_to(">");
        }
        self.out.push_str("<!DOCTYPE html>");
        self.keep_lines(&declaration[..declaration.len() - self.rest.len()]);
    }

    /// `<!ENTITY name "value">`
    fn define(&mut self, declaration: &'x str) {
        let Some(declared) = declaration.strip_prefix("<!ENTITY") else { return };
        let declared = declared.trim_start();
        let Some((name, value)) = declared.split_once(char::is_whitespace) else { return };
        let value = value.trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return };
        let Some(value) = value[1..].split(quote).next() else { return };
        // What it refers to was defined before, so that nothing grows without end.
        let mut replaced = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('&') {
            replaced.push_str(&rest[..at]);
            rest = &rest[at..];
            let inner = reference(rest).and_then(|name| Some((name, self.entities.get(name)?)));
            if let Some((name, value)) = inner {
                replaced.push_str(value);
                rest = &rest[name.len() + 2..];
            } else {
                replaced.push('&');
                rest = &rest[1..];
            }
            if replaced.len() > MAX_ENTITY {
                return;
            }
        }
        replaced.push_str(rest);
        if replaced.len() <= MAX_ENTITY && self.entities.len() < MAX_ENTITIES {
            // The first definition counts.
            self.entities.entry(name).or_insert_with(|| replaced.replace('\n', " "));
        }
    }
}

/// The name in the reference `&name;` that a text begins with.
fn reference(text: &str) -> Option<&str> {
    let end = text.bytes().take(MAX_NAME).position(|byte| byte == b';')?;
    text.get(1..end)
}

/// Where a tag or declaration ends that begins here; a `>` in quotes is not its end.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['<', '&', '>']) {
        Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn what_xml_writes_in_its_own_way() {
        for (xhtml, html) in [
            ("<title/><p>a", "<title></title><p>a"),
            ("<script src=\"a>b.js\" />x", "<script src=\"a>b.js\" ></script>x"),
            ("<h:title/>", "<h:title></h:title>"),
            ("<div/><br/>", "<div/><br/>"),
            ("<![CDATA[x < 5 && y]]>z", "x &lt; 5 &amp;&amp; yz"),
            ("<?xml version=\"1.0\"?>\n<?a\nb?>c", "\n\nc"),
            ("<!-- <title/> &a; -->b", "<!-- <title/> &a; -->b"),
            (
                "<script>a<b '<title/>'</script><title/>",
                "<script>a<b '<title/>'</script><title></title>",
            ),
            (
                "<!DOCTYPE html PUBLIC \"-//W3C//DTD\" \"a.dtd\"><p>",
                "<!DOCTYPE html PUBLIC \"-//W3C//DTD\" \"a.dtd\"><p>",
            ),
            ("a < b & c", "a < b & c"),
            ("<![CDATA[open", "open"),
        ] {
            assert_eq!(as_html(xhtml), html);
        }
    }

    #[test]
    fn entities_of_the_file() {
        let subset = "<!DOCTYPE html [\n<!ENTITY nbsp \"&#160;\"> <!-- ]> -->\n<!ENTITY ten 'RAG &quot;1&quot;'>\
            <!ENTITY hai \"&ten; hai\"><!ENTITY % p \"x\"><!ENTITY ngoai SYSTEM \"file:///etc/passwd\">]>\n";
        let html = as_html(&format!("{subset}<p>a&nbsp;&hai;&ngoai;&amp;</p>"));
        assert_eq!(html, "<!DOCTYPE html>\n\n\n<p>a&#160;RAG &quot;1&quot; hai&ngoai;&amp;</p>");
    }

    #[test]
    fn entities_do_not_explode() {
        let mut bomb = "<!DOCTYPE html [<!ENTITY a0 \"ha\">".to_owned();
        for at in 1..60 {
            write!(bomb, "<!ENTITY a{at} \"&a{0};&a{0};&a{0};\">", at - 1).unwrap();
        }
        bomb += "]>";
        bomb += &"&a6;&a59;".repeat(10_000);
        let html = as_html(&bomb);
        assert!(html.len() < MAX_EXPANDED + bomb.len());
        assert!(html.contains("haha") && html.contains("&a59;"));
    }
}
