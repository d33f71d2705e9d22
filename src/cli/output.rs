//! `--template`: what is printed of an answer is what the user's template makes of the object that
//! `--json` prints.

use std::path::Path;

use anyhow::{Context, Result};
use minijinja::value::{Serde, Value};
use serde::Serialize;

use crate::support::bounded;
use crate::text::jinja;

/// Size limit of a template file.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A user's template for output.
pub struct OutputTemplate(String);

impl OutputTemplate {
    /// `@FILE` reads a file; anything else is the template itself.
    ///
    /// # Errors
    /// The file cannot be read, or the template is not valid.
    pub fn new(text: &str) -> Result<Self> {
        let text = match text.strip_prefix('@') {
            Some(path) => bounded::read_text(Path::new(path), MAX_FILE_BYTES)
                .with_context(|| format!("cannot read the template {path}"))?,
            None => text.to_owned(),
        };
        jinja::undeclared(&text).context("the output template cannot be used")?;
        Ok(Self(text))
    }

    /// The text for an object, ended by one line break.
    pub fn render(&self, object: &impl Serialize) -> Result<String> {
        let json = serde_json::to_value(object)?;
        let data = json.to_string().len();
        let text = jinja::render_strictly(&self.0, &Value::from(Serde(&json)), data)
            .context("the output template cannot be used")?;
        Ok(format!("{}\n", text.trim_end_matches('\n')))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_sees_the_object_of_json() {
        let object =
            json!({"answer": "Nine.", "citations": [{"document": "a.md"}, {"document": "b"}]});
        let render = |text: &str| OutputTemplate::new(text).and_then(|it| it.render(&object));
        let line = "{{ answer }}\t{{ citations | map(attribute='document') | join(', ') }}";
        assert_eq!(render(line).unwrap(), "Nine.\ta.md, b\n");
        assert_eq!(render("{{ answer | tojson }}\n").unwrap(), "\"Nine.\"\n");
        let unknown = format!("{:#}", render("{{ anwser }}").unwrap_err());
        assert!(unknown.contains("output template") && unknown.contains("undefined"), "{unknown}");
        assert!(OutputTemplate::new("{{ answer").is_err());
        assert!(OutputTemplate::new("@/no/such").is_err());
    }
}
