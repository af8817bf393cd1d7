//! What a TLS server shows of itself: a certificate with its chain, and proof of the key to it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};

/// A certificate and its key that fit each other, and counted when they were read. Cheap to clone, never printed.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

/// Why certificate and key are of no use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The first file has none.
    #[error("tls_certificate holds no certificate (PEM, 'BEGIN CERTIFICATE')")]
    NoCertificate,
    /// What the first file has cannot be read.
    #[error("tls_certificate holds what is no certificate: {0}")]
    BadCertificate(String),
    /// The second file has none.
    #[error("tls_key holds no private key (PEM, 'BEGIN PRIVATE KEY', unencrypted)")]
    NoKey,
    /// A key that rustls does not take.
    #[error(
        "tls_key holds a key of no use here: RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519 will do"
    )]
    BadKey,
    /// Two files that were not made for each other.
    #[error("tls_key is not the key to the first certificate in tls_certificate: both must come from one renewal")]
    Mismatch,
    /// Its time is over.
    #[error("tls_certificate expired at {}: renew it", time(.0))]
    Expired(SystemTime),
    /// Its time has not come.
    #[error("tls_certificate counts from {} on only: is the clock right?", time(.0))]
    NotYet(SystemTime),
}

impl Identity {
    /// Reads two PEM texts: the server's certificate, then those that lead to its authority; and the key to the first.
    ///
    /// # Errors
    /// What is wrong with which of them, and never what stands in them.
    pub fn parse(certificates: &[u8], key: &[u8], now: SystemTime) -> Result<Self, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|error| IdentityError::BadCertificate(error.to_string()))?;
        let first = chain.first().cloned().ok_or(IdentityError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::NoKey)?;
        let parsed =
            ParsedCertificate::try_from(&first).map_err(|error| IdentityError::BadCertificate(error.to_string()))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => IdentityError::Mismatch,
            _ => IdentityError::BadKey,
        })?;
        let Validity { not_before, not_after } = Validity::of(&parsed);
        match () {
            () if now < not_before => Err(IdentityError::NotYet(not_before)),
            () if now > not_after => Err(IdentityError::Expired(not_after)),
            () => Ok(Self { key: Arc::new(certified), not_after }),
        }
    }

    /// The last moment at which it counts.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// When a certificate counts.
struct Validity {
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Validity {
    /// Verification looks at the time before anything else, and its refusal names the bound: it is asked at the beginning
    /// and at the end of time, so that no second reader of certificates is needed.
    fn of(certificate: &ParsedCertificate<'_>) -> Self {
        let at = |seconds| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            let algorithms = ring::default_provider().signature_verification_algorithms;
            verify_server_cert_signed_by_trust_anchor(certificate, &RootCertStore::empty(), &[], now, algorithms.all)
        };
        let not_before = match at(0) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                not_before.as_secs()
            }
            _ => 0,
        };
        let not_after = match at(u64::MAX) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => not_after.as_secs(),
            // Nobody could tell when it ends, such as of one that ends before it begins.
            _ => 0,
        };
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        Self { not_before: time(not_before), not_after: time(not_after) }
    }
}

/// RFC 3339, to the second.
fn time(at: &SystemTime) -> String {
    jiff::Timestamp::try_from(*at).map_or_else(|_| "a time out of range".into(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Certificate and key of openssl's making, which counts for a day from 2026-01-01 on.
    fn made(key: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let run = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&[&["genpkey", "-out", &path("key")], key].concat());
        run(&["req", "-new", "-key", &path("key"), "-subj", "/CN=camshaft", "-out", &path("request")]);
        // `x509` and `req` learn to take dates with OpenSSL 3.4 only.
        let config = format!(
            "[ca]\ndefault_ca=a\n[a]\ndatabase={0}/index\nrand_serial=yes\nnew_certs_dir={0}\npolicy=p\n\
             x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\n",
            dir.path().display()
        );
        std::fs::write(path("index"), "").unwrap();
        std::fs::write(path("cnf"), config).unwrap();
        let sign = ["ca", "-batch", "-notext", "-config", &path("cnf"), "-selfsign", "-md", "sha256"];
        let day = ["-startdate", "20260101000000Z", "-enddate", "20260102000000Z"];
        let files = ["-keyfile", &path("key"), "-in", &path("request"), "-out", &path("cert")];
        run(&[&sign[..], &day, &files].concat());
        (std::fs::read(path("cert")).unwrap(), std::fs::read(path("key")).unwrap())
    }

    fn on(date: &str) -> SystemTime {
        date.parse::<jiff::Timestamp>().unwrap().into()
    }

    const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

    #[test]
    fn a_pair_counts_within_its_time_only() {
        for key in [RSA, P256] {
            let (certificate, key) = made(&key);
            let identity = Identity::parse(&certificate, &key, on("2026-01-01T12:00:00Z")).unwrap();
            assert_eq!(identity.not_after(), on("2026-01-02T00:00:00Z"));
            assert_eq!(format!("{identity:?}"), "Identity(..)");
            let refused = |at| Identity::parse(&certificate, &key, on(at)).unwrap_err().to_string();
            assert_eq!(refused("2026-01-02T00:00:01Z"), "tls_certificate expired at 2026-01-02T00:00:00Z: renew it");
            assert!(refused("2025-12-31T23:59:59Z").contains("counts from 2026-01-01T00:00:00Z on"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_of_it_shown() {
        let (certificate, key) = made(&P256);
        let (_, other) = made(&P256);
        let weak = made(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]).1;
        let broken = String::from_utf8(certificate.clone()).unwrap().replacen("MII", "AAA", 1).into_bytes();
        let cut = &certificate[..certificate.len() / 2];
        for (certificate, key, said) in [
            (&b""[..], &key[..], "tls_certificate holds no certificate"),
            (&key, &key, "tls_certificate holds no certificate"),
            (cut, &key, "tls_certificate holds what is no certificate"),
            (&broken, &key, "tls_certificate holds what is no certificate"),
            (&certificate, b"", "tls_key holds no private key"),
            (&certificate, &certificate, "tls_key holds no private key"),
            (
                &certificate,
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "unencrypted",
            ),
            (&certificate, &weak, "tls_key holds a key of no use here"),
            (&certificate, &other, "tls_key is not the key to the first certificate"),
        ] {
            let error = Identity::parse(certificate, key, on("2026-01-01T12:00:00Z")).unwrap_err();
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
    }
}
