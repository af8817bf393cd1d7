//! TLS by rustls. Whom to trust is read from files before the sandbox closes.

use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::ingest::failure::Failure;
use crate::link::{FailureKind, ServerOrigin};
use crate::media::TlsTrust;

/// Where Linux distributions keep the authorities that they trust.
const SYSTEM: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Whose certificates count.
pub(super) enum Roots {
    /// Those that these sign.
    Known(RootCertStore),
    /// Anybody's.
    Any,
}

impl Roots {
    /// Reads the file that the configuration names, or the system's. Without TLS nothing is read.
    pub(super) fn read(origin: &ServerOrigin) -> Result<Self, Failure> {
        if !["https:", "rtsps:"].iter().any(|scheme| origin.url.starts_with(scheme)) || origin.tls == TlsTrust::Insecure
        {
            return Ok(Self::Any);
        }
        let mut store = RootCertStore::empty();
        match &origin.ca_file {
            Some(path) => {
                let problem = |text: String| {
                    Failure::new(FailureKind::Unsupported, format!("sources.ca_file cannot be read: {text}"))
                };
                let pem = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| problem(error.to_string()))?;
                    store.add(certificate).map_err(|error| problem(error.to_string()))?;
                }
                if store.is_empty() {
                    return Err(problem("it holds no certificate (PEM)".into()));
                }
            }
            None => {
                let pem = SYSTEM.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
                // Some of the system's are of kinds that rustls does not know.
                store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
            }
        }
        Ok(Self::Known(store))
    }
}

/// One host's TLS.
pub(super) struct Tls {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(host: &str, roots: Roots) -> Result<Self, Failure> {
        let unusable = |error: String| Failure::new(FailureKind::Unsupported, format!("no TLS: {error}"));
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let host = ServerName::try_from(bare).map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?;
        let config = match roots {
            Roots::Known(store) => builder.with_root_certificates(store).with_no_client_auth(),
            Roots::Any => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        self.connector.connect(self.host.clone(), stream).await.map_err(|error| refused(&error))
    }
}

fn refused(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let message = match inner {
        Some(Error::InvalidCertificate(why)) => format!(
            "the source's certificate does not count ({why}): name its authority in sources.ca_file, or set tls: insecure"
        ),
        _ => format!("the TLS handshake failed: {error}"),
    };
    Failure::new(FailureKind::Connect, message)
}

/// Takes any certificate, but holds the server to having its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
