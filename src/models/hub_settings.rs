//! Hub and cache settings, from the environment variables of the Hugging Face tools.

use std::fmt;
use std::path::PathBuf;

use crate::support::bounded;

/// Size limit for a token file, in bytes.
const MAX_TOKEN_FILE_BYTES: u64 = 4096;

/// A hub, its cache and the user's token.
#[derive(Clone)]
pub struct HubSettings {
    /// Address of the hub, without a trailing slash.
    pub endpoint: String,
    /// The folder that contains `models--owner--name`.
    pub cache_dir: PathBuf,
    /// Sent only to the hub itself, never to the storage it redirects to.
    pub token: Option<String>,
    /// Whether to use cached files only.
    pub offline: bool,
}

/// Redacts the token, because settings end up in logs.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .finish()
    }
}

impl HubSettings {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`,
    /// `HF_HUB_OFFLINE` and `XDG_CACHE_HOME`, with the same meaning as in `huggingface_hub`.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let home = set("HF_HOME").map_or_else(
            || {
                let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
                let cache = cache.or_else(|| dirs::home_dir().map(|home| home.join(".cache")));
                cache.unwrap_or_default().join("huggingface")
            },
            PathBuf::from,
        );
        let token_path = set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token =
            set("HF_TOKEN").or_else(|| bounded::read_text(&token_path, MAX_TOKEN_FILE_BYTES).ok());
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| {
            ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
        });
        Self {
            endpoint: set("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".to_owned())
                .trim_end_matches('/')
                .to_owned(),
            cache_dir: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> HubSettings {
        HubSettings::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_follows_the_environment() {
        let home = ("HF_HOME", "/hf");
        assert_eq!(settings(&[home]).cache_dir, Path::new("/hf/hub"));
        assert_eq!(settings(&[home, ("HF_HUB_CACHE", "/c")]).cache_dir, Path::new("/c"));
        let xdg = settings(&[("XDG_CACHE_HOME", "/x")]);
        assert_eq!(xdg.cache_dir, Path::new("/x/huggingface/hub"));
        assert_eq!(xdg.endpoint, "https://huggingface.co");
        assert_eq!(settings(&[home, ("HF_ENDPOINT", "http://h:1/")]).endpoint, "http://h:1");
    }

    #[test]
    fn the_token_comes_from_the_environment_then_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        assert_eq!(settings(&[home]).token, None);
        fs::write(folder.path().join("token"), "from-file\n").unwrap();
        assert_eq!(settings(&[home]).token.as_deref(), Some("from-file"));
        assert_eq!(settings(&[home, ("HF_TOKEN", " ")]).token.as_deref(), Some("from-file"));
        let both = settings(&[home, ("HF_TOKEN", "from-env")]);
        assert_eq!(both.token.as_deref(), Some("from-env"));
        assert!(!format!("{both:?}").contains("from-env"));
    }

    #[test]
    fn offline_takes_the_values_of_huggingface_hub() {
        for (value, offline) in
            [("1", true), ("yes", true), ("True", true), ("0", false), ("", false)]
        {
            assert_eq!(settings(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
    }
}
