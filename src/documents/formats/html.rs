//! HTML: the text that a page is about, without what surrounds it.
//!
//! The page is read as tags and text, never as a tree: a stack of open elements is enough to know
//! what belongs to a menu, and any depth of nesting costs only its bytes.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

use super::flow::{Flow, Rows, Script};
use super::{TextHead, plain_text};
use crate::documents::clean::clean;
use crate::documents::contents::{Contents, Extract};
use crate::documents::error::ReadError;
use crate::documents::structure::{Places, newlines};
use crate::documents::title::tidy_title;

/// Elements whose content is never text of the page.
const HIDDEN: [&str; 18] = [
    "script", "style", "noscript", "template", "iframe", "svg", "canvas", "object", "audio",
    "video", "select", "button", "textarea", "datalist", "label", "legend", "dialog", "map",
];
/// Elements around the text: menus, banners, side notes.
const SURROUNDING: [&str; 5] = ["nav", "header", "footer", "aside", "menu"];
/// What `role` says of the same kind.
const SURROUNDING_ROLES: [&str; 7] =
    ["navigation", "banner", "contentinfo", "complementary", "search", "menu", "menubar"];
/// Class names of the same kind, as `DocBook`, Sphinx, Bootstrap and common themes write them.
const SURROUNDING_CLASSES: [&str; 16] = [
    "navheader",
    "navfooter",
    "nav",
    "navbar",
    "navigation",
    "breadcrumb",
    "breadcrumbs",
    "sidebar",
    "toc",
    "menu",
    "pagination",
    "footer",
    "site-header",
    "site-footer",
    "related",
    "noprint",
];
/// Elements without content or end tag.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];
/// Elements that end the one of the same name that they follow.
const SIBLINGS: [&str; 8] = ["p", "li", "dt", "dd", "tr", "td", "th", "option"];
/// Open elements that are remembered. Pages have a few dozen.
const MAX_DEPTH: usize = 1 << 14;
/// How far an end tag looks for its element.
const MAX_LOOK: usize = 512;
/// Bytes of an attribute, or of the title, that are looked at.
const MAX_ATTRIBUTE: usize = 1024;
/// A `main` element stands for the whole page if it has this much text, in bytes.
const MIN_MAIN_BYTES: usize = 200;

/// Which part of a page is its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// What is in `main`.
    Main,
    /// Everything but what surrounds the text.
    Body,
    /// Everything that is shown: for pages whose markup says that they are nothing but menus.
    Everything,
}

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Html,
    /// XHTML: `<title/>` is a whole element.
    Xml,
}

pub(crate) fn read(file: File, path: &Path) -> Result<Contents, ReadError> {
    let html = plain_text::text_as_declared(file, path)?;
    Ok(Contents::One(extract(&html, Syntax::Html)))
}

/// Whether a text begins as a page does.
pub(crate) fn is_page(head: &TextHead) -> bool {
    head.start.starts_with("<!doctype html")
        || head.start.starts_with("<html")
        || (head.start.starts_with("<?xml") && head.start.contains("<html"))
}

/// The text of a page. `html` is composed and has `\n` line ends.
pub(crate) fn extract(html: &str, syntax: Syntax) -> Extract {
    let opened;
    let html = if syntax == Syntax::Xml {
        opened = with_end_tags(html);
        &opened
    } else {
        html
    };
    let has_main = ["<main", "<MAIN", "role=\"main\""].iter().any(|mark| html.contains(mark));
    let scopes = [(Scope::Main, MIN_MAIN_BYTES), (Scope::Body, 1), (Scope::Everything, 0)];
    let mut extract = Extract::default();
    for (scope, min_bytes) in scopes.into_iter().skip(usize::from(!has_main)) {
        extract = tokenize(html, scope, syntax).finish();
        if extract.text.len() >= min_bytes {
            break;
        }
    }
    extract
}

fn tokenize(html: &str, scope: Scope, syntax: Syntax) -> Page {
    let mut page = Page::new(scope);
    let mut tag = Tag::default();
    let mut attribute = Vec::new();
    let (mut position, mut line) = (0, 1);
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| {
        match event {
            CallbackEvent::OpenStartTag { name } => tag.open(name),
            CallbackEvent::AttributeName { name } => {
                attribute.clear();
                attribute.extend_from_slice(&name[..name.len().min(MAX_ATTRIBUTE)]);
                tag.attribute(&attribute, b"");
            }
            CallbackEvent::AttributeValue { value } => {
                tag.attribute(&attribute, &value[..value.len().min(MAX_ATTRIBUTE)]);
            }
            CallbackEvent::CloseStartTag { self_closing } => {
                page.start(&tag, self_closing && syntax == Syntax::Xml);
            }
            CallbackEvent::EndTag { name } => page.end(&String::from_utf8_lossy(name)),
            CallbackEvent::String { value } => {
                let start = span.start.clamp(position, html.len());
                line += newlines(&html.as_bytes()[position..start]);
                position = start;
                page.text(&String::from_utf8_lossy(value), line);
            }
            _ => {}
        }
        None::<()>
    });
    // To browsers, what is in scripts, styles and titles is text.
    emitter.naively_switch_states(true);
    // Its input is a string, so it cannot fail.
    Tokenizer::new_with_emitter(html, emitter).for_each(|_| {});
    page
}

/// XHTML with end tags for empty scripts, styles and titles, which to the tokenizer would go on.
fn with_end_tags(xhtml: &str) -> String {
    let mut out = String::with_capacity(xhtml.len());
    let mut rest = xhtml;
    while let Some(end) = rest.find("/>") {
        let start = rest[..end].rfind('<').unwrap_or(end);
        let name = rest[start..end].trim_start_matches('<').split_whitespace().next();
        let name = name.filter(|name| ["script", "style", "title", "iframe"].contains(name));
        out.push_str(&rest[..end]);
        match name {
            Some(name) => out.extend(["></", name, ">"]),
            None => out.push_str("/>"),
        }
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    out
}

/// A start tag: its name, and what its attributes mean for the text.
#[derive(Debug, Default)]
struct Tag {
    name: String,
    hidden: bool,
    surrounding: bool,
    main: bool,
    start: Option<u32>,
    columns: Option<usize>,
    rows: Option<usize>,
}

impl Tag {
    fn open(&mut self, name: &[u8]) {
        *self =
            Self { name: String::from_utf8_lossy(name).to_ascii_lowercase(), ..Self::default() };
    }

    fn attribute(&mut self, name: &[u8], value: &[u8]) {
        let value = String::from_utf8_lossy(value).to_ascii_lowercase();
        let mut words = value.split_ascii_whitespace();
        match name {
            b"hidden" => self.hidden = true,
            b"aria-hidden" => self.hidden |= value == "true",
            b"style" => {
                let style: String = value.split_ascii_whitespace().collect();
                self.hidden |=
                    style.contains("display:none") || style.contains("visibility:hidden");
            }
            b"role" => {
                self.main |= value == "main";
                self.surrounding |= words.any(|word| SURROUNDING_ROLES.contains(&word));
            }
            b"class" => self.surrounding |= words.any(|word| SURROUNDING_CLASSES.contains(&word)),
            b"start" => self.start = value.trim().parse().ok(),
            b"colspan" => self.columns = value.trim().parse().ok(),
            b"rowspan" => self.rows = value.trim().parse().ok(),
            _ => {}
        }
    }
}

/// An element that is open.
struct Element {
    name: usize,
    hides: bool,
    is_main: bool,
    is_block: bool,
}

/// A page that is being read.
struct Page {
    scope: Scope,
    flow: Flow,
    title: String,
    in_title: bool,
    /// Numbers of the element names seen.
    ids: HashMap<Rc<str>, usize>,
    /// Each name, and how often it is open.
    names: Vec<(Rc<str>, usize)>,
    elements: Vec<Element>,
    /// How many open elements hide their content, and how many are `main`.
    hiding: usize,
    mains: usize,
    /// Open lists: the number of the next item, where items are numbered.
    lists: Vec<Option<u32>>,
    /// Open articles: a `header` in one belongs to it.
    articles: usize,
}

impl Page {
    fn new(scope: Scope) -> Self {
        Self {
            scope,
            flow: Flow::default(),
            title: String::new(),
            in_title: false,
            ids: HashMap::new(),
            names: Vec::new(),
            elements: Vec::new(),
            hiding: 0,
            mains: 0,
            lists: Vec::new(),
            articles: 0,
        }
    }

    fn is_shown(&self) -> bool {
        self.hiding == 0 && (self.scope != Scope::Main || self.mains > 0)
    }

    fn text(&mut self, text: &str, line: u32) {
        if self.in_title {
            if self.title.len() < MAX_ATTRIBUTE {
                self.title.push_str(text);
            }
            return;
        }
        if !self.is_shown() {
            return;
        }
        let mut line = line;
        for part in text.split_inclusive('\n') {
            self.flow.at(line);
            self.flow.text(part);
            line = line.saturating_add(u32::from(part.ends_with('\n')));
        }
    }

    /// A start tag. `is_empty` if it is the end tag too, as in XML.
    fn start(&mut self, tag: &Tag, is_empty: bool) {
        let name = tag.name.as_str();
        let is_void = is_empty || VOID.contains(&name);
        let id = self.id(name);
        if SIBLINGS.contains(&name) && self.elements.last().is_some_and(|last| last.name == id) {
            self.pop();
        }
        if !is_void && self.elements.len() < MAX_DEPTH {
            // The header or footer of an article belongs to it.
            let own = self.articles > 0 && matches!(name, "header" | "footer");
            let surrounds = self.scope != Scope::Everything
                && !matches!(name, "html" | "body" | "main" | "article")
                && ((SURROUNDING.contains(&name) && !own) || tag.surrounding);
            let hides = surrounds
                || HIDDEN.contains(&name)
                || (tag.hidden && !matches!(name, "html" | "body"));
            let is_main = name == "main" || tag.main;
            self.elements.push(Element { name: id, hides, is_main, is_block: is_block(name) });
            self.names[id].1 += 1;
            self.hiding += usize::from(hides);
            self.mains += usize::from(is_main);
            self.articles += usize::from(matches!(name, "article" | "main"));
            match name {
                "ul" | "menu" => self.lists.push(None),
                "ol" => self.lists.push(Some(tag.start.unwrap_or(1))),
                "title" if self.title.is_empty() && !self.is_open("svg") => self.in_title = true,
                _ => {}
            }
        }
        if self.is_shown() {
            self.begin(tag, is_void);
        }
    }

    /// What a start tag means for the text.
    fn begin(&mut self, tag: &Tag, is_void: bool) {
        let flow = &mut self.flow;
        match tag.name.as_str() {
            "br" => flow.line_break(),
            "hr" => flow.end_block(),
            _ if is_void => {}
            // A heading that was not closed ends at the first paragraph after it.
            "p" if flow.has_heading() => flow.end_heading(),
            name @ ("h1" | "h2" | "h3" | "h4" | "h5" | "h6") => {
                flow.begin_heading(usize::from(name.as_bytes()[1] - b'0'));
            }
            "pre" | "listing" | "xmp" => flow.begin_verbatim(),
            "table" => flow.begin_table(),
            "thead" | "tbody" | "tfoot" => flow.end_row_group(),
            "tr" => flow.begin_row(),
            "td" | "th" => {
                flow.begin_cell();
                flow.set_cell_columns(tag.columns.unwrap_or(1));
                flow.set_cell_rows(tag.rows.map_or(Rows::One, Rows::Count));
            }
            "sup" => flow.begin_script(Script::Super),
            "sub" => flow.begin_script(Script::Sub),
            "li" => {
                let depth = self.lists.len();
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}.");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "-".to_owned(),
                };
                flow.begin_item(depth, &marker);
            }
            name if is_block(name) => flow.end_block(),
            _ => {}
        }
    }

    /// An end tag.
    fn end(&mut self, name: &str) {
        if name == "br" {
            self.flow.line_break();
        }
        let Some(&id) = self.ids.get(name) else { return };
        if self.names[id].1 == 0 {
            return;
        }
        // The end tag of an inline element ends nothing beyond the block around it.
        let is_inline = !is_block(name) && !HIDDEN.contains(&name);
        let mut above = self.elements.iter().rev().take(MAX_LOOK);
        let found = above.position(|element| element.name == id || (is_inline && element.is_block));
        let Some(depth) = found else { return };
        if self.elements[self.elements.len() - 1 - depth].name == id {
            for _ in 0..=depth {
                self.pop();
            }
        }
    }

    /// The innermost open element ends.
    fn pop(&mut self) {
        let was_shown = self.is_shown();
        let Some(element) = self.elements.pop() else { return };
        self.hiding -= usize::from(element.hides);
        self.mains -= usize::from(element.is_main);
        let (name, open) = &mut self.names[element.name];
        *open -= 1;
        let name = Rc::clone(name);
        let flow = &mut self.flow;
        match &*name {
            "title" => self.in_title = false,
            "article" | "main" => self.articles -= 1,
            "ul" | "ol" | "menu" => {
                self.lists.pop();
            }
            _ => {}
        }
        if !was_shown {
            return;
        }
        match &*name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => flow.end_heading(),
            "pre" | "listing" | "xmp" => flow.end_verbatim(),
            "table" => flow.end_table(),
            "thead" | "tbody" | "tfoot" => flow.end_row_group(),
            "tr" => flow.end_row(),
            "sup" | "sub" => flow.end_script(),
            "td" | "th" => flow.end_cell(),
            "li" => flow.end_item(),
            name if is_block(name) => flow.end_block(),
            _ => {}
        }
    }

    fn id(&mut self, name: &str) -> usize {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let name: Rc<str> = name.into();
        self.ids.insert(Rc::clone(&name), self.names.len());
        self.names.push((name, 0));
        self.names.len() - 1
    }

    fn is_open(&self, name: &str) -> bool {
        self.ids.get(name).is_some_and(|&id| self.names[id].1 > 0)
    }

    fn finish(mut self) -> Extract {
        while !self.elements.is_empty() {
            self.pop();
        }
        let title = tidy_title(&clean(&self.title));
        // `Bài viết - Tên trang`: the heading alone says it better.
        let heading = self.flow.first_heading().map(str::to_owned);
        let title = match (title, heading) {
            (Some(title), Some(heading)) if title.starts_with(&heading) => Some(heading),
            (title, _) => title,
        };
        Extract { title, ..self.flow.finish(Places::Lines) }
    }
}

/// Whether an element begins on a new line.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "li"
            | "main"
            | "menu"
            | "nav"
            | "ol"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::documents::Place;
    use crate::documents::structure::LineCounter;

    fn text(html: &str) -> String {
        extract(html, Syntax::Html).text
    }

    #[test]
    fn what_surrounds_the_text_is_left_out() {
        let html = "<!DOCTYPE html><html><head><title>Bài một | Trang</title>
            <style>p {}</style><script>if (a < b) document.write('<p>x</p>')</script></head><body>
            <header><a href=/>Trang chủ</a></header><nav><ul><li>Mục</ul></nav>
            <div class='wrap SideBar left'>bên</div><form><label>Tìm</label><input name=q>
            <div role=search>tìm</div></form>
            <article><header><h1>Bài một</h1><p>Hà Nội, 1/1</p></header>
            <p>Đoạn&nbsp;<b>đ</b>ầu&hellip; <span hidden>ẩn</span><span style='DISPLAY: none'>ẩn</span><!-- không -->
            hết<br>dòng<p>Đoạn hai<aside>quảng cáo</aside></article><footer>© Trang</footer></body></html>";
        let Extract { title, text, structure, .. } = extract(html, Syntax::Html);
        assert_eq!(title.as_deref(), Some("Bài một"));
        assert_eq!(text, "Bài một\n\nHà Nội, 1/1\n\nĐoạn đầu… hết\ndòng\n\nĐoạn hai");
        let sections = structure.sections.unwrap();
        assert_eq!(sections.len(), 1);
        assert_eq!(sections[0].headings, ["Bài một"]);
    }

    #[test]
    fn main_stands_for_the_page_if_it_has_text() {
        let long = "chữ ".repeat(60);
        let page = |main: &str| format!("<div>ngoài</div><main><p>{main}</main><div>sau</div>");
        assert_eq!(text(&page(&long)), long.trim());
        assert_eq!(text(&page("ngắn")), "ngoài\n\nngắn\n\nsau");
    }

    #[test]
    fn a_page_of_nothing_but_menus_is_read_all_the_same() {
        assert_eq!(text("<nav><p>một</p></nav><script>hai</script>"), "một");
        // The header does not end, so it has the whole page.
        assert_eq!(text("<header><h1>A</h1><p>một"), "A\n\nmột");
    }

    #[test]
    fn structure_and_lines() {
        let html = "<h1>A</h1>\n<ul><li>một\n<li>hai<ol start=3><li>x<li>y</ol></ul>\n\n\
            <pre>a  b\n  c</pre>\n<table><tr><th>tên<th>giá<tr><td>x<td>\n1 &lt; 2</table>\n\
            <h2>B <i>b</i></h2><p>cuối\n<h3></h3>";
        let Extract { text, structure, .. } = extract(html, Syntax::Html);
        assert_eq!(
            text,
            "A\n\n- một\n- hai\n  3. x\n  4. y\n\na  b\n  c\n\ntên | giá\nx | 1 < 2\n\nB b\n\ncuối"
        );
        let place = |word: &str| {
            let at = text.find(word).unwrap();
            structure.places.of(&(at..at + word.len()), &mut LineCounter::new("")).unwrap()
        };
        assert_eq!(place("- một\n- hai"), Place::Lines(2, 3));
        assert_eq!(place("a  b\n  c"), Place::Lines(5, 6));
        assert_eq!(place("x | 1 < 2"), Place::Lines(7, 8));
        assert_eq!(place("cuối"), Place::Lines(9, 9));
    }

    #[test]
    fn wrong_nesting_loses_no_text() {
        assert_eq!(text("<p><b>một<p>hai</b> ba</p></div></i>bốn"), "một\n\nhai ba\n\nbốn");
        assert_eq!(text("<table><td>a</b>b<td>c</table>d</table>e"), "ab | c\n\nde");
        assert_eq!(text("<h1>A<h2>B<p>c"), "A\n\nB\n\nc");
        assert_eq!(text("<ul><li>a</ul><dt>b<dd>c"), "- a\n\nb\n\nc");
        assert_eq!(text("</td></tr></table></pre></h1></li>a<"), "a<");
        assert_eq!(text("a<b"), "a");
        assert_eq!(text(""), "");
    }

    #[test]
    fn hostile_pages_end_in_linear_time() {
        const SIZE: usize = 1 << 21;
        let fill = |part: &str| part.repeat(SIZE / part.len());
        let half = |a: &str, b: &str| a.repeat(SIZE / 2 / a.len()) + &b.repeat(SIZE / 2 / b.len());
        let numbered = |before: &str, after: &str| {
            let numbers = (0..SIZE / 12).map(|number| number.to_string());
            numbers.flat_map(|number| [before.to_owned(), number, after.to_owned()]).collect()
        };
        for html in [
            fill("<div>"),
            fill("<table><tr><td>"),
            fill("<table><td>x<h1>"),
            fill("<ul><li>x"),
            fill("<b><p>"),
            half("<a>", "</b>"),
            half("<b><td>", "</b>x"),
            half("<i>x", "</i>"),
            format!("<b><td>{}", half("<i>", "</b>")),
            fill("<"),
            fill("&#x41;"),
            fill("&"),
            fill("<!--"),
            fill("<script>"),
            fill("<title>"),
            fill("<pre>x\n"),
            format!("<p class=\"{}\">", fill("a ")),
            format!("<p {}>", fill("a=b ")),
            numbered("<x", ">"),
            numbered("<p a", "=1>x"),
        ] {
            let begin = Instant::now();
            extract(&html, Syntax::Html);
            let took = begin.elapsed();
            let sample: String = html.chars().take(24).collect();
            assert!(took < Duration::from_mins(1), "{sample:?}: {took:?}");
        }
    }
}
