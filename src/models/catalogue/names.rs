//! Validates names for use in paths and URLs.

/// Whether `text` is a safe path component that needs no escaping in a URL.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
}

pub(crate) fn is_relative_file(text: &str) -> bool {
    text.len() <= 256 && text.split('/').all(is_name)
}

pub(crate) fn is_repository(text: &str) -> bool {
    is_relative_file(text) && text.split('/').count() <= 2 && !text.contains("--")
}

/// Whether `text` is a SHA-256 digest in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
