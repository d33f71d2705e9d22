//! Fields of a Word document: what is printed is their result, not their instruction.

use super::symbols;

/// Fields within one another.
const MAX_DEPTH: usize = 64;
/// Bytes of an instruction that are kept.
const MAX_INSTRUCTION: usize = 1024;
/// What is told from page to page, or repeats a text from elsewhere.
const RUNNING: [&str; 8] =
    ["PAGE", "NUMPAGES", "SECTIONPAGES", "SECTION", "STYLEREF", "FILENAME", "TITLE", "SAVEDATE"];

/// The fields that are open, the innermost last.
#[derive(Default)]
pub(super) struct Fields {
    open: Vec<Field>,
    /// Fields beyond [`MAX_DEPTH`].
    deeper: usize,
    /// Text in instructions, which is read after all if the instruction never ends.
    hidden: String,
}

#[derive(Default)]
struct Field {
    instruction: String,
    in_result: bool,
    form: Form,
}

/// What a form field shows.
#[derive(Default)]
enum Form {
    #[default]
    None,
    Box {
        is_checked: bool,
    },
    /// The number of the chosen entry, how many there were so far, and the chosen one.
    List {
        chosen: usize,
        count: usize,
        entry: String,
    },
}

impl Fields {
    pub fn begin(&mut self) {
        if self.open.len() < MAX_DEPTH {
            self.open.push(Field::default());
        } else {
            self.deeper += 1;
        }
    }

    /// The instruction ends, and the result begins.
    pub fn separate(&mut self) {
        if self.deeper == 0
            && let Some(field) = self.open.last_mut()
        {
            field.in_result = true;
        }
    }

    /// The field ends. What it shows, if it had no result.
    pub fn end(&mut self) -> Option<String> {
        if self.deeper > 0 {
            self.deeper -= 1;
            return None;
        }
        let field = self.open.pop()?;
        if self.open.is_empty() {
            self.hidden.clear();
        }
        if field.in_result { None } else { field.shown() }
    }

    pub fn instruction(&mut self, text: &str) {
        if let Some(field) = self.open.last_mut()
            && field.instruction.len() + text.len() <= MAX_INSTRUCTION
        {
            field.instruction.push_str(text);
        }
    }

    /// Keeps text that is part of an instruction. Whether it is.
    pub fn hide(&mut self, text: &str) -> bool {
        let is_hidden = self.open.iter().any(|field| !field.in_result);
        if is_hidden {
            self.hidden.push_str(text);
        }
        is_hidden
    }

    /// Instructions end with their paragraph. Text that was hidden in one that did not.
    pub fn end_paragraph(&mut self) -> Option<String> {
        let is_open = self.open.iter().any(|field| !field.in_result);
        if !is_open {
            return None;
        }
        for field in &mut self.open {
            field.in_result = true;
        }
        Some(std::mem::take(&mut self.hidden)).filter(|text| !text.is_empty())
    }

    /// Whether text is a page number or repeats something: in headers and footers.
    pub fn is_running(&self) -> bool {
        self.open.iter().any(|field| field.in_result && is_running(&field.instruction))
    }

    /// Whether the field that ends is one of these, and had no result.
    pub fn ends_running(&self) -> bool {
        let last = self.open.last().filter(|_| self.deeper == 0);
        last.is_some_and(|field| !field.in_result && is_running(&field.instruction))
    }

    /// Whether text is a line of a table of contents, if it is a link.
    pub fn is_contents(&self) -> bool {
        self.open.iter().any(|field| field.in_result && name(&field.instruction) == "TOC")
    }

    /// A property of a form field.
    pub fn set_form(&mut self, name: &str, value: Option<String>) {
        let Some(field) = self.open.last_mut() else { return };
        let is_on = value.as_deref().is_none_or(|value| value != "0" && value != "false");
        match (name, &mut field.form) {
            ("checkBox", _) => field.form = Form::Box { is_checked: false },
            ("default" | "checked", Form::Box { is_checked }) => *is_checked = is_on,
            ("ddList", _) => {
                field.form = Form::List { chosen: 0, count: 0, entry: String::new() };
            }
            ("default" | "result", Form::List { chosen, .. }) => {
                *chosen = value.and_then(|at| at.parse().ok()).unwrap_or(0);
            }
            ("listEntry", Form::List { chosen, count, entry }) => {
                if chosen == count {
                    *entry = value.unwrap_or_default();
                }
                *count += 1;
            }
            _ => {}
        }
    }
}

impl Field {
    /// What a field without a result shows.
    fn shown(self) -> Option<String> {
        match self.form {
            Form::Box { is_checked } => {
                return Some(if is_checked { "☒" } else { "☐" }.to_owned());
            }
            Form::List { entry, .. } => return Some(entry),
            Form::None => {}
        }
        let instruction = self.instruction.trim();
        let (name, rest) = instruction.split_once(char::is_whitespace)?;
        match name.to_ascii_uppercase().as_str() {
            "SYMBOL" => symbol(rest),
            // The second word is what a click does.
            "MACROBUTTON" | "GOTOBUTTON" => {
                rest.trim().split_once(char::is_whitespace).map(|(_, text)| text.to_owned())
            }
            "QUOTE" => Some(rest.trim().trim_matches('"').to_owned()),
            "EQ" => Some(equation(rest)),
            _ => None,
        }
    }
}

/// The first word of an instruction.
fn name(instruction: &str) -> String {
    instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}

/// Whether a field's result is told from page to page, or repeats a text from elsewhere.
pub(super) fn is_running(instruction: &str) -> bool {
    RUNNING.contains(&name(instruction).as_str())
}

/// `SYMBOL 168 \f Wingdings`
fn symbol(arguments: &str) -> Option<String> {
    let mut words = arguments.split_whitespace();
    let code = words.next()?;
    let code = match code.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => code.parse().ok()?,
    };
    let font = arguments.split_once("\\f").map_or("", |(_, font)| font.trim());
    let font = match font.strip_prefix('"') {
        Some(font) => font.split('"').next().unwrap_or_default(),
        None => font.split_whitespace().next().unwrap_or_default(),
    };
    symbols::sign(font, code).map(String::from)
}

/// `EQ \f(1,2)`: the operands, with a stroke in fractions.
fn equation(arguments: &str) -> String {
    let is_fraction = arguments.trim_start().to_ascii_lowercase().starts_with("\\f");
    let mut text = String::new();
    let mut characters = arguments.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => while characters.next_if(char::is_ascii_alphanumeric).is_some() {},
            '(' | ')' => text.push(' '),
            ',' | ';' if is_fraction => text.push('/'),
            c => text.push(c),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(instruction: &str) -> Option<String> {
        let mut fields = Fields::default();
        fields.begin();
        fields.instruction(instruction);
        fields.end()
    }

    #[test]
    fn fields_without_a_result_show_what_they_hold() {
        assert_eq!(shown(" SYMBOL 254 \\f Wingdings \\s 11 ").as_deref(), Some("☑"));
        assert_eq!(shown("SYMBOL 0x2265 \\f \"Cambria Math\"").as_deref(), Some("≥"));
        assert_eq!(shown("MACROBUTTON NoMacro [Nhập tên]").as_deref(), Some("[Nhập tên]"));
        assert_eq!(shown("EQ \\f(1,2)").as_deref(), Some("1/2"));
        assert_eq!(shown("XE \"mục từ\""), None);
        assert_eq!(shown("PAGE"), None);
    }

    #[test]
    fn form_fields_show_their_state() {
        let form = |properties: &[(&str, &str)]| {
            let mut fields = Fields::default();
            fields.begin();
            for (name, value) in properties {
                fields.set_form(name, (!value.is_empty()).then(|| (*value).to_owned()));
            }
            fields.end().unwrap()
        };
        assert_eq!(form(&[("checkBox", ""), ("default", "0")]), "☐");
        assert_eq!(form(&[("checkBox", ""), ("default", "0"), ("checked", "")]), "☒");
        let list = [("ddList", ""), ("result", "1"), ("listEntry", "A"), ("listEntry", "B")];
        assert_eq!(form(&list), "B");
    }

    #[test]
    fn results_within_instructions_are_hidden_but_never_lost() {
        let mut fields = Fields::default();
        fields.begin();
        fields.instruction("IF ");
        fields.begin();
        fields.separate();
        assert!(fields.hide("khóa"));
        assert_eq!(fields.end(), None);
        fields.separate();
        assert!(!fields.hide("kết quả"));
        assert_eq!((fields.end(), fields.end_paragraph()), (None, None));
        fields.begin();
        assert!(fields.hide("không có kết thúc"));
        assert_eq!(fields.end_paragraph().as_deref(), Some("không có kết thúc"));
        assert!(!fields.hide("đoạn sau"));
    }

    #[test]
    fn depth_is_bounded() {
        let mut fields = Fields::default();
        (0..1 << 20).for_each(|_| fields.begin());
        (0..1 << 20).for_each(|_| drop(fields.end()));
        assert!(!fields.hide("x"));
    }
}
