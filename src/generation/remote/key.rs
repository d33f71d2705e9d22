//! The key that a server asks for: from the environment, and never to be seen again.

use std::ffi::OsString;
use std::fmt;

use thiserror::Error;

use super::Endpoint;

/// Set for this program, so it goes wherever the user sends this program.
const OURS: &str = "RAG_QUERY_LLM_KEY";
/// Set for whatever speaks to OpenAI.
const COMMON: &str = "OPENAI_API_KEY";

/// A key that cannot be sent. It is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the key in {0} has characters that no key has; set it again, without line breaks")]
pub struct KeyError(&'static str);

/// A secret. It has no text of its own: only [`Key::header`] tells it.
#[derive(Clone)]
pub struct Key {
    secret: String,
    variable: &'static str,
}

impl Key {
    /// From `RAG_QUERY_LLM_KEY`, else `OPENAI_API_KEY`; nothing where neither is set.
    pub fn from_env() -> Result<Option<Self>, KeyError> {
        Self::from_lookup(|name| std::env::var_os(name).map(OsString::into_encoded_bytes))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Option<Self>, KeyError> {
        for variable in [OURS, COMMON] {
            let value = lookup(variable).unwrap_or_default();
            let value = value.trim_ascii();
            if value.is_empty() {
                continue;
            }
            if !value.iter().all(u8::is_ascii_graphic) {
                return Err(KeyError(variable));
            }
            let secret = String::from_utf8_lossy(value).into_owned();
            return Ok(Some(Self { secret, variable }));
        }
        Ok(None)
    }

    /// The variable that it comes from.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether a server may have the key. One that was set for other programs too is not sent where
    /// others can read it.
    pub fn may_go_to(&self, server: &Endpoint) -> bool {
        self.variable == OURS || !server.is_readable_by_others()
    }

    /// The value of `Authorization`.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.secret)
    }

    /// The text without the secret, should a server repeat it.
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, "…")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("secret", &"…").field("variable", &self.variable).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(variables: &[(&str, &str)]) -> Result<Option<Key>, KeyError> {
        Key::from_lookup(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| value.as_bytes().to_vec())
        })
    }

    #[test]
    fn our_own_variable_comes_first_and_empty_ones_do_not_count() {
        let both = key(&[(COMMON, "sk-common"), (OURS, " sk-ours\n")]).unwrap().unwrap();
        assert_eq!((both.variable(), both.header().as_str()), (OURS, "Bearer sk-ours"));
        let common = key(&[(COMMON, "sk-common"), (OURS, " ")]).unwrap().unwrap();
        assert_eq!(common.variable(), COMMON);
        assert!(key(&[]).unwrap().is_none());
    }

    #[test]
    fn a_key_is_in_no_text() {
        let key = key(&[(OURS, "sk-hidden")]).unwrap().unwrap();
        assert!(!format!("{key:?} {key:#?}").contains("hidden"));
        assert_eq!(key.redact("no sk-hidden here: sk-hidden"), "no … here: …");
        let error = self::key(&[(OURS, "sk-hidden\nX-Other: 1")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }

    #[test]
    fn a_common_key_does_not_go_where_others_can_read_it() {
        let server = |address: &str| Endpoint::parse_list(address).unwrap().remove(0);
        let (ours, common) = (key(&[(OURS, "k")]), key(&[(COMMON, "k")]));
        let (ours, common) = (ours.unwrap().unwrap(), common.unwrap().unwrap());
        let open = server("openai:http://example.org/v1#m");
        assert!(ours.may_go_to(&open) && !common.may_go_to(&open));
        for closed in ["openai:https://example.org/v1#m", "openai:http://127.0.0.1:1/v1#m"] {
            assert!(common.may_go_to(&server(closed)), "{closed}");
        }
    }
}
