//! Resolves the document names in a question file to ids in the index.

use std::collections::HashMap;

use thiserror::Error;

use crate::index::file_of;

/// Likeness of two names, 0 to 1, from which on one may be a slip for the other.
const ALIKE: f64 = 0.85;

/// A name that does not identify exactly one document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentError {
    #[error(
        "no document of the index is called {name:?}{}",
        meant.as_ref().map_or_else(
            || "; `rag-query index list` shows what they are called".to_owned(),
            |meant| format!("; did you mean {meant:?}?")
        )
    )]
    Unknown { name: String, meant: Option<String> },
    #[error("{name:?} may be {first} or {second}; write more of its path")]
    Ambiguous { name: String, first: String, second: String },
}

/// The documents of an index by name. A document goes by its full id; by any suffix of its path
/// that starts after a `/`; and, if it is a line of a JSONL file, by the part after the `#`.
pub struct Documents<'a> {
    named: HashMap<&'a str, (&'a str, Option<&'a str>)>,
}

impl<'a> Documents<'a> {
    /// Collects the names of documents from their ids.
    pub fn new(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut named: HashMap<&str, (&str, Option<&str>)> = HashMap::new();
        for id in ids {
            let file = file_of(id);
            let ends = file
                .char_indices()
                .filter(|&(_, c)| c == '/' || c == std::path::MAIN_SEPARATOR)
                .map(|(at, separator)| &id[at + separator.len_utf8()..]);
            let line = id[file.len()..].strip_prefix('#');
            for name in ends.chain(line) {
                named
                    .entry(name)
                    .and_modify(|(first, second)| {
                        if *first != id {
                            *second = Some(id);
                        }
                    })
                    .or_insert((id, None));
            }
            // A full id is never ambiguous.
            named.insert(id, (id, None));
        }
        Self { named }
    }

    /// The id of the document called `name`.
    pub fn find(&self, name: &str) -> Result<&'a str, DocumentError> {
        let name = name.strip_prefix("./").unwrap_or(name);
        match self.named.get(name) {
            Some((id, None)) => Ok(id),
            Some((first, Some(second))) => Err(DocumentError::Ambiguous {
                name: name.to_owned(),
                first: (*first).to_owned(),
                second: (*second).to_owned(),
            }),
            None => {
                let meant = self.like(name).map(str::to_owned);
                Err(DocumentError::Unknown { name: name.to_owned(), meant })
            }
        }
    }

    /// The name that is most like this one, if any is.
    fn like(&self, name: &str) -> Option<&'a str> {
        let likeness = |known: &&str| strsim::jaro(&name.to_lowercase(), &known.to_lowercase());
        let known = self.named.keys().copied().map(|known| (likeness(&known), known));
        // Of equals, the first by name: the order of a map is by chance.
        known
            .filter(|(likeness, _)| *likeness > ALIKE)
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
            .map(|(_, known)| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_by_id_line_and_end_of_path() {
        let ids = ["/n/a/x.md", "/n/b/x.md", "/n/faq.jsonl#a/b", "/n/y#1.md"];
        let documents = Documents::new(ids.into_iter());
        for (name, id) in [
            ("/n/a/x.md", ids[0]),
            ("b/x.md", ids[1]),
            ("./b/x.md", ids[1]),
            ("a/b", ids[2]),
            ("faq.jsonl#a/b", ids[2]),
            ("y#1.md", ids[3]),
        ] {
            assert_eq!(documents.find(name), Ok(id));
        }
        let error = documents.find("x.md").unwrap_err().to_string();
        assert!(error.contains("/n/a/x.md or /n/b/x.md"), "{error}");
        for name in ["faq.jsonl", "b", ".md", "", "1.md"] {
            assert!(matches!(documents.find(name), Err(DocumentError::Unknown { .. })), "{name}");
        }
        let told = |name| documents.find(name).unwrap_err().to_string();
        assert!(told("A/X.MD").ends_with("did you mean \"a/x.md\"?"), "{}", told("A/X.MD"));
        assert!(told("thesis").contains("`rag-query index list`"), "{}", told("thesis"));
    }
}
