//! The certificate authorities that encrypted connections trust.
//!
//! Mozilla's list is built in, so that nothing has to be installed. `SSL_CERT_FILE` names a list to use
//! instead, as it does for curl, OpenSSL and uv: that of a company's own authority, or of its proxy.

use std::path::{Path, PathBuf};

use thiserror::Error;
use ureq::tls::{PemItem, RootCerts, parse_pem};

use crate::support::bounded;

const VARIABLE: &str = "SSL_CERT_FILE";
/// A larger file, in bytes, is not a list of certificates; the usual ones have a quarter of a megabyte.
const MAX_BYTES: u64 = 16 << 20;

/// The list that `SSL_CERT_FILE` names cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the certificates in {} ({VARIABLE}): {reason}; name a file of certificates in PEM form, or unset {VARIABLE}", path.display())]
pub struct CertificatesError {
    path: PathBuf,
    reason: String,
}

/// The authorities to trust.
///
/// # Errors
/// `SSL_CERT_FILE` does not name a file of certificates in PEM form.
pub fn roots() -> Result<RootCerts, CertificatesError> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => read(Path::new(&path)),
        None => Ok(RootCerts::WebPki),
    }
}

fn read(path: &Path) -> Result<RootCerts, CertificatesError> {
    let failed = |reason: String| CertificatesError { path: path.to_owned(), reason };
    let pem = bounded::read(path, MAX_BYTES).map_err(|error| failed(error.to_string()))?;
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
    fn every_certificate_of_a_file_is_trusted() {
        let bundle = format!("# A comment\n{AUTHORITY}\nAnother:\n{AUTHORITY}");
        let Ok(RootCerts::Specific(certificates)) = read_text(&bundle) else { panic!() };
        assert_eq!(certificates.len(), 2);
    }

    #[test]
    fn other_files_are_refused_by_name() {
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
