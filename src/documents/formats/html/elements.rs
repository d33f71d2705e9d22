//! What the names of elements mean.

/// Elements whose content is never text of the page.
pub(super) const NEVER_TEXT: [&str; 7] =
    ["script", "style", "template", "iframe", "noembed", "noframes", "rp"];
/// Elements whose content is shown only if something else cannot be, or once someone asks for it.
pub(super) const HIDDEN: [&str; 7] =
    ["noscript", "canvas", "object", "audio", "video", "datalist", "dialog"];
/// Elements around the text: menus, banners, side notes.
pub(super) const SURROUNDING: [&str; 5] = ["nav", "header", "footer", "aside", "menu"];
/// What `role` says of the same kind.
pub(super) const SURROUNDING_ROLES: [&str; 7] =
    ["navigation", "banner", "contentinfo", "complementary", "search", "menu", "menubar"];
/// Class names of the same kind, as `DocBook`, Sphinx, Bootstrap and common themes write them.
pub(super) const SURROUNDING_CLASSES: [&str; 16] = [
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
/// What `epub:type` calls the parts of a book that only lead to others.
pub(super) const SURROUNDING_TYPES: [&str; 5] =
    ["toc", "landmarks", "page-list", "loi", "pagebreak"];
/// Class names, roles and types of an `aside` that belongs to the text: notes and boxes.
pub(super) const NOTES: [&str; 24] = [
    "footnote",
    "footnotes",
    "endnote",
    "endnotes",
    "rearnote",
    "rearnotes",
    "note",
    "notes",
    "doc-footnote",
    "doc-endnote",
    "doc-endnotes",
    "doc-tip",
    "doc-notice",
    "notice",
    "warning",
    "caution",
    "danger",
    "important",
    "info",
    "tip",
    "hint",
    "callout",
    "admonition",
    "example",
];
/// Class names, roles and types of the mark in the text that leads to a note.
pub(super) const NOTE_MARKS: [&str; 5] =
    ["noteref", "doc-noteref", "footnote-ref", "footnoteref", "footnote-reference"];
/// The same, where the mark is raised.
pub(super) const RAISED_NOTE_MARKS: [&str; 5] = ["reference", "footnote", "endnote", "note", "fn"];
/// Elements without content or end tag.
pub(super) const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

/// Whether an element begins on a new line.
pub(super) fn is_block(name: &str) -> bool {
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
            | "dialog"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "foreignobject"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "legend"
            | "li"
            | "listing"
            | "main"
            | "menu"
            | "nav"
            | "ol"
            | "p"
            | "pre"
            | "search"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "td"
            | "textarea"
            | "tfoot"
            | "th"
            | "thead"
            | "tr"
            | "ul"
            | "xmp"
    )
}

/// Whether a start tag inside a drawing or a formula says that it was not closed.
pub(super) fn leaves_foreign(name: &str) -> bool {
    const INLINE: [&str; 20] = [
        "b", "big", "br", "code", "em", "hr", "i", "img", "nobr", "ruby", "s", "small", "span",
        "strike", "strong", "sub", "sup", "tt", "u", "var",
    ];
    name != "foreignobject" && (is_block(name) || INLINE.contains(&name))
}

/// The elements that a start tag ends, and those beyond which it ends none.
pub(super) fn implied_ends(name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match name {
        "li" => (&["li"], &["ul", "ol", "menu"]),
        "dt" | "dd" => (&["dt", "dd"], &["dl"]),
        "tr" => (&["tr"], &["table"]),
        "td" | "th" => (&["td", "th"], &["tr", "table"]),
        "thead" | "tbody" | "tfoot" => (&["thead", "tbody", "tfoot"], &["table"]),
        "option" | "optgroup" => (&["option"], &["select", "datalist"]),
        "rt" | "rp" => (&["rt", "rp"], &["ruby"]),
        _ => (&[], &[]),
    }
}
