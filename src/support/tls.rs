//! Whom an encrypted connection trusts.
//!
//! Mozilla's list of authorities is built in, so that nothing has to be installed. `SSL_CERT_FILE`
//! names a list to use instead, as with curl, OpenSSL and uv: a company's own authority, or one that
//! its proxy speaks for.

use std::path::{Path, PathBuf};

use thiserror::Error;
use ureq::tls::{PemItem, RootCerts, parse_pem};

use crate::support::bounded;

const VARIABLE: &str = "SSL_CERT_FILE";
/// A longer file is no list of certificates, in bytes; the usual ones have a quarter of a megabyte.
const MOST_BYTES: u64 = 16 << 20;

/// A list of certificates that cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the certificates in {} ({VARIABLE}): {reason}; name a file of certificates in PEM form, or unset {VARIABLE}", path.display())]
pub struct CertificatesError {
    path: PathBuf,
    reason: String,
}

/// The authorities that are trusted.
///
/// # Errors
/// `SSL_CERT_FILE` names no file of certificates in PEM form.
pub fn roots() -> Result<RootCerts, CertificatesError> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => read(Path::new(&path)),
        None => Ok(RootCerts::WebPki),
    }
}

fn read(path: &Path) -> Result<RootCerts, CertificatesError> {
    let failed = |reason: String| CertificatesError { path: path.to_owned(), reason };
    let pem = bounded::read(path, MOST_BYTES).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(RootCerts::from(certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = include_str!("../../tests/fixtures/tls/authority.pem");

    fn read_text(text: &str) -> Result<RootCerts, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.pem");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn every_certificate_of_a_file_counts_and_nothing_else() {
        let bundle = format!("# A comment\n{AUTHORITY}\nAnother:\n{AUTHORITY}");
        let Ok(RootCerts::Specific(certificates)) = read_text(&bundle) else { panic!() };
        assert_eq!(certificates.len(), 2);
    }

    #[test]
    fn what_is_no_list_of_certificates_is_refused_with_its_name() {
        let cut = &AUTHORITY[..AUTHORITY.len() / 2];
        let broken = AUTHORITY.replace("\nM", "\n*");
        for text in ["", "no certificate", cut, &broken] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains("mine.pem") && error.contains(VARIABLE), "{text}: {error}");
        }
        let error = read(Path::new("/nowhere/x.pem")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/x.pem"), "{error}");
    }
}
