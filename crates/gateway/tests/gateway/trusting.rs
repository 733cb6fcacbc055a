//! TLS to the provider: whose certificates count.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Gateway, Profile, provider, say};

/// A provider that speaks TLS with a certificate of its own authority.
struct TlsProvider {
    base_url: String,
    /// The authority's certificate.
    authority: PathBuf,
    _dir: TempDir,
}

impl TlsProvider {
    async fn start() -> Self {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &Issuer::new(authority, authority_key))
            .unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authority.pem");
        std::fs::write(&file, authority_certificate.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config))));
        Self {
            base_url: format!("https://localhost:{port}/v1"),
            authority: file,
            _dir: dir,
        }
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    let (router, _) = provider();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // A client that distrusts us goes away in the middle of the handshake.
            if let Ok(stream) = tls.accept(stream).await {
                let connection = http1::Builder::new();
                let _ = connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_named_by_ssl_cert_file_is_trusted() {
    let provider = TlsProvider::start().await;
    let profile = Profile::relaying_to(&provider.base_url, "m");
    let environment = [("SSL_CERT_FILE", provider.authority.to_str().unwrap())];
    let gateway = Gateway::start_with(&profile, &environment);
    let reply = gateway.ask(&say("hello")).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_not_trusted_whether_the_machine_knows_any_or_none() {
    let provider = TlsProvider::start().await;
    let profile = Profile::relaying_to(&provider.base_url, "m");
    let nothing = [
        ("SSL_CERT_FILE", "/nonexistent/authorities.pem"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    for environment in [&[][..], &nothing[..]] {
        let gateway = Gateway::start_with(&profile, environment);
        let reply = gateway.ask(&say("hello")).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::BAD_GATEWAY);
        let error: Value = reply.json().await.unwrap();
        assert_eq!(error["error"]["code"], "provider_unreachable");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("certificate"), "{message}");
    }
}
