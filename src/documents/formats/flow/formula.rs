//! Formulas as text on one line: `(a+b)/c`, `x^2`, `√(x+1)`, `∑_(i=1)^n`.
//!
//! A reader says in order what it finds, as with [`Flow`](super::Flow):
//!
//! ```text
//! begin(Fraction); begin(Row); text("1"); end(); begin(Row); text("4"); end(); end();   1/4
//! ```

/// Parts within parts; those further inside are read one after the other.
const MAX_DEPTH: usize = 48;

/// How the parts of a formula belong together. Parts that have a place (numerator, exponent) are
/// each one [`Part::Row`] or another part, even where they are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// One after the other.
    Row,
    /// Numerator, denominator.
    Fraction,
    /// Base, exponent.
    Power,
    /// Base, index.
    Index,
    /// Base, index, exponent. Also a sum or integral and its limits.
    IndexAndPower,
    /// Base, what is above it: an accent, or a limit.
    Over,
    /// Radicand, in any number of parts.
    SquareRoot,
    /// Radicand, degree.
    Root,
    /// Any number of parts between brackets.
    Fenced { open: String, close: String, separator: String },
    /// Rows of a matrix or of a system of equations.
    Table,
    /// Cells of such a row.
    TableRow,
    /// Not shown.
    Hidden,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Formula {
    /// What is open, the innermost last, with its parts so far. The first is the whole formula.
    open: Vec<(Part, Vec<String>)>,
    /// How many parts beyond [`MAX_DEPTH`] are open.
    too_deep: usize,
}

impl Formula {
    pub fn new() -> Self {
        Self { open: vec![(Part::Row, Vec::new())], too_deep: 0 }
    }

    /// A part begins.
    pub fn begin(&mut self, part: Part) {
        if self.open.len() < MAX_DEPTH {
            self.open.push((part, Vec::new()));
        } else {
            self.too_deep += 1;
        }
    }

    /// A number, name, operator or text.
    pub fn text(&mut self, text: &str) {
        // Function application, invisible times, and the like.
        let is_visible = |c: &char| !matches!(c, '\u{2061}'..='\u{2064}' | '\u{200b}');
        let visible: String = text.chars().filter(is_visible).collect();
        let words: Vec<&str> = visible.split_whitespace().collect();
        if !words.is_empty() {
            self.put(words.join(" "));
        }
    }

    /// The innermost part ends.
    pub fn end(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
        } else if self.open.len() > 1
            && let Some((part, parts)) = self.open.pop()
        {
            self.put(written(&part, &parts));
        }
    }

    fn put(&mut self, part: String) {
        if let Some((_, parts)) = self.open.last_mut() {
            parts.push(part);
        }
    }

    /// The whole formula.
    pub fn finish(mut self) -> String {
        self.too_deep = 0;
        while self.open.len() > 1 {
            self.end();
        }
        self.open.pop().map(|(_, parts)| joined(&parts)).unwrap_or_default()
    }
}

fn written(part: &Part, parts: &[String]) -> String {
    let part_at = |at: usize| parts.get(at).map_or("", String::as_str);
    let rest = |from: usize| joined(parts.get(from..).unwrap_or_default());
    let (first, second) = (part_at(0), part_at(1));
    match part {
        Part::Row => joined(parts),
        Part::Fraction => format!("{}/{}", in_brackets(first), in_brackets(&rest(1))),
        Part::Power => script(first, "", &rest(1)),
        Part::Index => script(first, &rest(1), ""),
        Part::IndexAndPower => script(first, second, &rest(2)),
        Part::Over => match rest(1) {
            accent
                if accent.chars().nth(1).is_none() && !accent.contains(char::is_alphanumeric) =>
            {
                format!("{first}{accent}")
            }
            above => script(first, "", &above),
        },
        Part::SquareRoot => format!("√{}", in_brackets(&joined(parts))),
        Part::Root => {
            let degree = rest(1);
            match degree.as_str() {
                "" | "2" => format!("√{}", in_brackets(first)),
                "3" => format!("∛{}", in_brackets(first)),
                "4" => format!("∜{}", in_brackets(first)),
                _ => script(&format!("({first})"), "", &format!("1/{}", in_brackets(&degree))),
            }
        }
        Part::Fenced { open, close, separator } => {
            format!("{open}{}{close}", parts.join(separator))
        }
        Part::Table => parts.join("; "),
        Part::TableRow => parts.join(", "),
        Part::Hidden => String::new(),
    }
}

/// A base with its index and exponent; either may be missing.
fn script(base: &str, index: &str, exponent: &str) -> String {
    let mut out = if base.is_empty() { String::new() } else { in_brackets(base) };
    for (sign, script) in [('_', index), ('^', exponent)] {
        if script.is_empty() {
            continue;
        }
        // Degrees and primes are signs of their own.
        if !matches!(script, "°" | "∘" | "′" | "'" | "″" | "*" | "+" | "−" | "-") {
            out.push(sign);
        }
        out.push_str(&in_brackets(script));
    }
    out
}

/// An expression as an operand.
fn in_brackets(expression: &str) -> String {
    let digits = expression.strip_prefix(['-', '−']).unwrap_or(expression);
    let is_number = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    let is_name = expression.chars().all(|c| c.is_alphabetic() || "°′'%".contains(c));
    let is_power = expression.starts_with(char::is_alphabetic)
        && expression.chars().all(|c| c.is_alphanumeric() || matches!(c, '^' | '_'));
    let is_one_sign = expression.chars().nth(1).is_none();
    if is_number || is_name || is_power || is_one_sign || is_enclosed(expression) {
        expression.to_owned()
    } else {
        format!("({expression})")
    }
}

/// Whether an expression is in one pair of brackets.
fn is_enclosed(expression: &str) -> bool {
    let last = expression.len().saturating_sub(1);
    let mut depth = 0_usize;
    for (at, c) in expression.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at == last && at > 0;
        }
    }
    false
}

/// Parts one after the other, apart where they would run into one word or number.
fn joined(parts: &[String]) -> String {
    let mut out = String::new();
    let mut last = "";
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let are_letters =
            out.ends_with(char::is_alphanumeric) && part.starts_with(char::is_alphanumeric);
        let is_digit = |c: char| c.is_ascii_digit();
        let run_together = last.ends_with(is_digit) && part.starts_with(is_digit)
            || is_word(last)
            || is_word(part)
            || last.contains(['^', '_', '√', '/'])
            || part.contains('/');
        if are_letters && run_together {
            out.push(' ');
        }
        out.push_str(part);
        last = part;
    }
    out
}

fn is_word(part: &str) -> bool {
    part.chars().filter(|c| c.is_alphabetic()).take(2).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `{…}` as rows and `\f`, `\p`, … as parts of which the next `{…}` holds the parts.
    fn formula(source: &str) -> String {
        let mut formula = Formula::new();
        let mut part = Part::Row;
        for token in source.split_inclusive(|c: char| "{} ".contains(c)) {
            let end = token.ends_with(['{', '}']);
            let text = token[..token.len() - usize::from(end)].trim();
            match text {
                "frac" => part = Part::Fraction,
                "pow" => part = Part::Power,
                "sub" => part = Part::Index,
                "both" => part = Part::IndexAndPower,
                "sqrt" => part = Part::SquareRoot,
                "root" => part = Part::Root,
                "over" => part = Part::Over,
                text => formula.text(text),
            }
            if token.ends_with('{') {
                formula.begin(std::mem::replace(&mut part, Part::Row));
            } else if token.ends_with('}') {
                formula.end();
            }
        }
        formula.finish()
    }

    #[test]
    fn formulas_keep_their_numbers() {
        for (source, expected) in [
            ("frac{ {1}{4}}", "1/4"),
            ("2 frac{ {1}{2}}", "2 1/2"),
            ("pow{ {10}{8}}", "10^8"),
            ("pow{ {10}{ − 3 }}", "10^−3"),
            ("frac{ {a + b }{2 c }}", "(a+b)/(2c)"),
            ("pow{ { ( a + b ) }{2}} + 1 ", "(a+b)^2+1"),
            ("pow{ {x}{n + 1 }}", "x^(n+1)"),
            ("sub{ {x}{1}} sub{ {x}{2}}", "x_1 x_2"),
            ("both{ {∑}{i = 1 }{n}} i ", "∑_(i=1)^n i"),
            ("sqrt{x + 1 }", "√(x+1)"),
            ("sqrt{2}", "√2"),
            ("root{ {8}{3}}", "∛8"),
            ("root{ {x}{n}}", "(x)^(1/n)"),
            ("over{ {x}{¯}}", "x¯"),
            ("x = frac{ { − b ± sqrt{ pow{ {b}{2}} − 4 a c }}{2 a }}", "x=(−b±√(b^2−4ac))/(2a)"),
            ("sin x ", "sin x"),
            ("pow{ {30}{°}} C ", "30°C"),
            ("frac{ {1}}", "1/"),
            ("}} a {{ b ", "ab"),
        ] {
            assert_eq!(formula(source), expected, "{source}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut formula = Formula::new();
        for _ in 0..100_000 {
            formula.begin(Part::Power);
            formula.text("x");
        }
        for _ in 0..100_000 {
            formula.end();
        }
        assert!(formula.finish().len() < 1_000_000);
    }
}
