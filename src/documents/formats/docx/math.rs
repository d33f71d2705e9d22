//! The formulas of a Word document, written on one line as people type them: `(a+b)/2`, `x_1^2`,
//! `√2`.

use quick_xml::events::BytesStart;

use crate::documents::formats::package::attribute;

/// Structures within one another. What is nested deeper is text of the one around it.
const MAX_DEPTH: usize = 64;

/// A formula that is being read: the structures that are open, each with its arguments.
#[derive(Default)]
pub(super) struct Math {
    open: Vec<Node>,
}

enum Node {
    Structure(Structure),
    /// A part of a structure, or the whole formula, and its text so far.
    Argument(Role, String),
}

/// Which part of its structure an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Base,
    Above,
    Below,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fraction,
    Radical,
    Script,
    /// With its limit above it.
    Over,
    /// Scripts before their base.
    Prescript,
    Nary,
    Delimited,
    Function,
    Accent,
    Matrix,
    Row,
    Lines,
}

struct Structure {
    kind: Kind,
    arguments: Vec<(Role, String)>,
    /// The sign of a sum or an accent.
    sign: Option<String>,
    /// What is around and between the arguments.
    begin: Option<String>,
    separator: Option<String>,
    end: Option<String>,
    /// A fraction without its line.
    has_no_bar: bool,
}

impl Math {
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Begins a formula.
    pub fn begin(&mut self) {
        self.open.push(Node::Argument(Role::Base, String::new()));
    }

    /// An element within a formula. Whether [`Math::end`] is to be called at its end.
    pub fn start(&mut self, name: &str, tag: &BytesStart) -> bool {
        let node = match name {
            "e" | "num" | "fName" => Node::Argument(Role::Base, String::new()),
            "sup" | "deg" => Node::Argument(Role::Above, String::new()),
            "sub" | "den" => Node::Argument(Role::Below, String::new()),
            "lim" => {
                let around = self.open.last();
                let is_over = matches!(around, Some(Node::Structure(it)) if it.kind == Kind::Over);
                Node::Argument(if is_over { Role::Above } else { Role::Below }, String::new())
            }
            name => {
                let Some(structure) = Structure::named(name) else {
                    self.property(name, tag);
                    return false;
                };
                Node::Structure(structure)
            }
        };
        if self.open.len() >= MAX_DEPTH {
            return false;
        }
        self.open.push(node);
        true
    }

    /// What a structure says about itself.
    fn property(&mut self, name: &str, tag: &BytesStart) {
        let Some(Node::Structure(structure)) = self.open.last_mut() else { return };
        let value = || attribute(tag, "val").map(|value| value.chars().take(4).collect::<String>());
        match name {
            "chr" => structure.sign = value(),
            "begChr" => structure.begin = value().or(Some(String::new())),
            "sepChr" => structure.separator = value(),
            "endChr" => structure.end = value().or(Some(String::new())),
            "type" => structure.has_no_bar = attribute(tag, "val").is_some_and(|it| it == "noBar"),
            _ => {}
        }
    }

    pub fn text(&mut self, text: &str) {
        match self.open.last_mut() {
            Some(Node::Argument(_, before)) => before.push_str(text),
            Some(Node::Structure(structure)) => {
                structure.arguments.push((Role::Base, text.to_owned()));
            }
            None => {}
        }
    }

    /// The innermost open element ends. The whole formula, once that is it.
    pub fn end(&mut self) -> Option<String> {
        let (role, text) = match self.open.pop()? {
            Node::Argument(role, text) => (role, text),
            Node::Structure(matrix) if matrix.kind == Kind::Matrix && self.is_in_brackets() => {
                (Role::Base, matrix.joined("; "))
            }
            Node::Structure(structure) => (Role::Base, structure.text()),
        };
        match self.open.last_mut() {
            None => return Some(text),
            Some(Node::Structure(around)) => around.arguments.push((role, text)),
            Some(Node::Argument(_, before)) => {
                // 2 and 1/2 are not 21/2.
                let is_number = before.ends_with(|c: char| c.is_ascii_digit());
                if is_number && text.starts_with(|c: char| c.is_ascii_digit()) {
                    before.push(' ');
                }
                before.push_str(&text);
            }
        }
        None
    }
}

impl Math {
    /// Whether what follows is the first within brackets.
    fn is_in_brackets(&self) -> bool {
        let [.., Node::Structure(around), Node::Argument(_, before)] = &self.open[..] else {
            return false;
        };
        around.kind == Kind::Delimited && before.is_empty()
    }
}

impl Structure {
    fn named(name: &str) -> Option<Self> {
        let kind = match name {
            "f" => Kind::Fraction,
            "rad" => Kind::Radical,
            "sSup" | "sSub" | "sSubSup" | "limLow" => Kind::Script,
            "limUpp" => Kind::Over,
            "sPre" => Kind::Prescript,
            "nary" => Kind::Nary,
            "d" => Kind::Delimited,
            "func" => Kind::Function,
            "acc" => Kind::Accent,
            "m" => Kind::Matrix,
            "mr" => Kind::Row,
            "eqArr" => Kind::Lines,
            _ => return None,
        };
        Some(Self {
            kind,
            arguments: Vec::new(),
            sign: None,
            begin: None,
            separator: None,
            end: None,
            has_no_bar: false,
        })
    }

    /// The argument in this role.
    fn argument(&self, role: Role) -> &str {
        self.arguments.iter().find(|(is, _)| *is == role).map_or("", |(_, text)| text.trim())
    }

    /// All arguments, with something between them.
    fn joined(&self, separator: &str) -> String {
        let arguments: Vec<&str> = self.arguments.iter().map(|(_, text)| text.as_str()).collect();
        arguments.join(separator)
    }

    fn text(&self) -> String {
        let base = self.argument(Role::Base);
        let (above, below) = (self.argument(Role::Above), self.argument(Role::Below));
        match self.kind {
            Kind::Fraction if self.has_no_bar => format!("({base}; {below})"),
            Kind::Fraction => format!("{}/{}", operand(base), operand(below)),
            Kind::Radical => {
                let degree = match above {
                    "" | "2" => "√".to_owned(),
                    "3" => "∛".to_owned(),
                    "4" => "∜".to_owned(),
                    degree => format!("{}√", operand(degree)),
                };
                format!("{degree}{}", operand(base))
            }
            Kind::Script | Kind::Over => format!("{}{}", operand(base), scripts(below, above)),
            Kind::Prescript => format!("{}{}", scripts(below, above), operand(base)),
            Kind::Nary => {
                let sign = self.sign.as_deref().unwrap_or("∫");
                format!("{sign}{} {base}", scripts(below, above))
            }
            Kind::Delimited => {
                let begin = self.begin.as_deref().unwrap_or("(");
                let end = self.end.as_deref().unwrap_or(")");
                format!("{begin}{}{end}", self.joined(self.separator.as_deref().unwrap_or("|")))
            }
            Kind::Function => self.joined(" "),
            Kind::Accent => format!("{base}{}", self.sign.as_deref().unwrap_or("\u{302}")),
            Kind::Matrix => format!("[{}]", self.joined("; ")),
            Kind::Row => self.joined(", "),
            Kind::Lines => self.joined("; "),
        }
    }
}

/// `_1^2`
fn scripts(below: &str, above: &str) -> String {
    let mut scripts = String::new();
    if !below.is_empty() {
        scripts.push('_');
        scripts.push_str(&operand(below));
    }
    // f′ and 30° have no exponent.
    if above.chars().all(|c| "′″‴*°†".contains(c)) {
        scripts.push_str(above);
    } else {
        scripts.push('^');
        scripts.push_str(&operand(above));
    }
    scripts
}

/// In parentheses, unless it is one number or name, or already in some.
fn operand(text: &str) -> String {
    let is_number = text.chars().all(|c| c.is_numeric() || ".,∞".contains(c));
    let is_word = is_number || text.chars().all(char::is_alphabetic);
    let inside = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    if is_word || inside.is_some_and(|text| !text.contains(['(', ')'])) {
        text.to_owned()
    } else {
        format!("({text})")
    }
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    fn formula(xml: &str) -> String {
        let mut math = Math::default();
        math.begin();
        let mut open = Vec::new();
        let mut reader = Reader::from_str(xml);
        loop {
            match reader.read_event().unwrap() {
                Event::Start(tag) => open.push(math.start(tag.local_name().as_ref(), &tag)),
                Event::Empty(tag) if math.start(tag.local_name().as_ref(), &tag) => {
                    math.end();
                }
                Event::End(_) if open.pop() == Some(true) => {
                    math.end();
                }
                Event::Text(text) => math.text(&text.xml10_content()),
                Event::Eof => return math.end().unwrap(),
                _ => {}
            }
        }
    }

    #[test]
    fn formulas_are_written_as_people_type_them() {
        for (xml, expected) in [
            ("<f><num>1</num><den>2</den></f>", "1/2"),
            ("2<f><num>1</num><den>2</den></f>", "2 1/2"),
            ("<f><num>a+b</num><den>2c</den></f>", "(a+b)/(2c)"),
            ("<f><fPr><type val=\"noBar\"/></fPr><num>n</num><den>k</den></f>", "(n; k)"),
            ("<sSup><e>10</e><sup>6</sup></sSup>", "10^6"),
            ("<sSup><e>f</e><sup>′</sup></sSup>", "f′"),
            ("<sSubSup><e>x</e><sub>i</sub><sup>n+1</sup></sSubSup>", "x_i^(n+1)"),
            ("<sPre><sub>2</sub><sup>4</sup><e>He</e></sPre>", "_2^4He"),
            ("<rad><radPr><degHide val=\"1\"/></radPr><deg/><e>2</e></rad>", "√2"),
            ("<rad><deg>3</deg><e>a+b</e></rad>", "∛(a+b)"),
            (
                "<nary><naryPr><chr val=\"∑\"/></naryPr><sub>i=1</sub><sup>n</sup><e>x</e></nary>",
                "∑_(i=1)^n x",
            ),
            ("<nary><sub>0</sub><sup>1</sup><e>x dx</e></nary>", "∫_0^1 x dx"),
            ("<sSup><e><d><e>a+b</e></d></e><sup>2</sup></sSup>", "(a+b)^2"),
            (
                "<d><dPr><begChr val=\"{\"/><endChr val=\"\"/></dPr><e><eqArr><e>x</e><e>y</e></eqArr></e></d>",
                "{x; y",
            ),
            (
                "<d><dPr><begChr val=\"[\"/><sepChr val=\",\"/><endChr val=\"]\"/></dPr><e>0</e><e>1</e></d>",
                "[0,1]",
            ),
            (
                "<d><e><m><mr><e>a</e><e>b</e></mr><mr><e>c</e><e>d</e></mr></m></e></d>",
                "(a, b; c, d)",
            ),
            ("<m><mr><e>a</e><e>b</e></mr><mr><e>c</e><e>d</e></mr></m>", "[a, b; c, d]"),
            ("<func><fName>sin</fName><e>x</e></func>", "sin x"),
            (
                "<func><fName><limLow><e>lim</e><lim>x→0</lim></limLow></fName><e>f</e></func>",
                "lim_(x→0) f",
            ),
            ("<limUpp><e>X</e><lim>n</lim></limUpp>", "X^n"),
            ("<acc><accPr><chr val=\"\u{303}\"/></accPr><e>x</e></acc>", "x\u{303}"),
            ("<box><e>x</e></box><r><t>+1</t></r>", "x+1"),
        ] {
            assert_eq!(formula(xml), expected, "{xml}");
        }
    }

    #[test]
    fn depth_costs_no_more_than_its_text() {
        let deep = format!("{}x{}", "<f><num>".repeat(1 << 16), "</num></f>".repeat(1 << 16));
        assert!(formula(&deep).contains('x'));
    }
}
