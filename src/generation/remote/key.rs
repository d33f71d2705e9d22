//! A server's API key. It comes from the environment and is sent only to that server.

use std::ffi::OsString;
use std::fmt;

use thiserror::Error;

use super::Endpoint;
use super::mask::Mask;

/// Set specifically for this program, so it may be sent to any server the user names.
const OURS: &str = "RAG_QUERY_LLM_KEY";
/// Set for any program that talks to OpenAI.
const COMMON: &str = "OPENAI_API_KEY";

/// Why a key cannot be sent. Does not repeat the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the key in {0} has characters that no key has; set it again, without line breaks")]
pub struct KeyError(&'static str);

/// A secret, revealed only by [`Key::header`].
#[derive(Clone)]
pub struct Key {
    secret: String,
    variable: &'static str,
}

impl Key {
    /// Tells keys apart without telling what they are.
    pub fn digest(&self) -> blake3::Hash {
        blake3::hash(self.secret.as_bytes())
    }

    /// The value of `RAG_QUERY_LLM_KEY`, or else of `OPENAI_API_KEY`; `None` if neither is set.
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

    /// The environment variable it came from.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// Whether the key may be sent to a server. A key meant for other programs is not sent where
    /// others could read it.
    pub fn may_go_to(&self, server: &Endpoint) -> bool {
        self.variable == OURS || !server.is_readable_by_others()
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.secret)
    }

    /// Hides the secret in what a server says.
    pub fn mask(&self) -> Mask {
        Mask::of(&self.secret)
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
    fn our_own_variable_comes_first_and_empty_ones_are_ignored() {
        let both = key(&[(COMMON, "sk-common"), (OURS, " sk-ours\n")]).unwrap().unwrap();
        assert_eq!((both.variable(), both.header().as_str()), (OURS, "Bearer sk-ours"));
        let common = key(&[(COMMON, "sk-common"), (OURS, " ")]).unwrap().unwrap();
        assert_eq!(common.variable(), COMMON);
        assert!(key(&[]).unwrap().is_none());
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = key(&[(OURS, "sk-hidden")]).unwrap().unwrap();
        assert!(!format!("{key:?} {key:#?}").contains("hidden"));
        assert_eq!(key.mask().hide("no sk-hidden here: sk-hidden"), "no … here: …");
        let error = self::key(&[(OURS, "sk-hidden\nX-Other: 1")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }

    #[test]
    fn a_key_for_all_programs_is_not_sent_readable_by_others() {
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
