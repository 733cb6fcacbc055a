//! Whom the gateway trusts when it speaks TLS to a provider.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, Error, RootCertStore};

use crate::log;

/// The machine's certificate authorities, `SSL_CERT_FILE` and `SSL_CERT_DIR` included; where it
/// has none, as in a slim image, the ones Mozilla ships. The machine's choice is never widened.
pub(crate) fn client_config() -> Result<ClientConfig, Error> {
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        log::warn(format_args!("certificate authorities: {error}"));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
