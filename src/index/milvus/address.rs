//! Parses `milvus://[user:password@]host[:port]/collection`.

use std::fmt;

/// Milvus' default.
const PORT: u16 = 19530;
/// Milvus allows 255; the rest is for the suffixes of our collection names.
const MAX_NAME: usize = 200;

/// A collection on a server, with credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether to use TLS.
    pub tls: bool,
    /// Host name or IP address, IPv6 in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Name of the index on the server.
    pub collection: String,
    /// `user:password` or an API key. Never displayed.
    pub token: Option<String>,
}

/// Whether `text` denotes a collection rather than a directory.
pub fn is_address(text: &str) -> bool {
    text.starts_with("milvus://") || text.starts_with("milvus+tls://")
}

impl Address {
    /// Parses an address. Errors omit secrets.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (tls, rest) = match (text.strip_prefix("milvus+tls://"), text.strip_prefix("milvus://"))
        {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("it does not begin with milvus:// or milvus+tls://".to_owned()),
        };
        // A password may contain `/` or `@`; a collection name may not.
        let (server, collection) =
            rest.rsplit_once('/').ok_or("it names no collection: milvus://host:port/collection")?;
        let (token, server) = match server.rsplit_once('@') {
            Some((token, server)) => (Some(decoded(token)?), server),
            None => (None, server),
        };
        let (host, port) = match server.rsplit_once(':') {
            // Colons of an IPv6 address are inside brackets.
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| "its port is not a number below 65536")?)
            }
            _ => (server, PORT),
        };
        let host_is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
        if host.is_empty() || !host.chars().all(host_is_plain) {
            return Err("it names no host".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !collection.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            || !collection.chars().all(plain)
            || collection.len() > MAX_NAME
        {
            return Err(format!(
                "its collection needs a name of letters, digits and `_` that begins with no digit, \
                 of {MAX_NAME} characters at most"
            ));
        }
        let (host, collection) = (host.to_owned(), collection.to_owned());
        Ok(Self { tls, host, port, collection, token })
    }

    /// The server URL for the client.
    #[cfg(feature = "milvus")]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// Percent-decodes, such as `%40` → `@`.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(value.ok_or("a `%` in its password is to be written as %25")?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| "its password is not UTF-8".to_owned())
}

/// Omits secrets, so that it is safe to display.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "milvus+tls" } else { "milvus" };
        write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.collection)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_secrets() {
        let address = Address::parse("milvus://root:p@ss%2Fw%25rd/@db.example:7000/notes").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db.example", 7000));
        assert_eq!(address.token.as_deref(), Some("root:p@ss/w%rd/"));
        assert_eq!(address.to_string(), "milvus://db.example:7000/notes");
        assert_eq!(format!("{address:?}"), "milvus://db.example:7000/notes");
        let bare = Address::parse("milvus+tls://[::1]/notes").unwrap();
        assert_eq!((bare.tls, bare.port, bare.token.as_deref()), (true, 19530, None));
        assert_eq!(bare.to_string(), "milvus+tls://[::1]:19530/notes");
    }

    #[test]
    fn malformed_addresses_are_errors_without_secrets() {
        for text in [
            "milvus://",
            "milvus://host",
            "milvus://host/",
            "milvus://u:secret@host/9lives",
            "milvus://u:secret@host:99999/a",
            "milvus://u:secret@/a",
            "milvus://u:secret@ho st/a",
            "milvus://u:secret%zz@host/a",
            "notes",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(is_address("milvus://host/a") && !is_address("/milvus://host/a"));
    }
}
