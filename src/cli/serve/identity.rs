//! The TLS servers' certificate and key: read at the start, and again when either file changes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::files::read_secret;
use crate::config::{self, TlsFiles};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::tcp::Identity;

/// What `files` hold, as it is from now on until `cancel`.
///
/// # Errors
/// If a file cannot be read or watched, or the two are of no use.
pub fn follow(
    files: &TlsFiles,
    metrics: &Arc<Metrics>,
    cancel: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<watch::Receiver<Identity>> {
    let first = read(files)?;
    show(&first, metrics);
    let (sender, identity) = watch::channel(first);
    let paths = [files.certificate.clone(), files.key.clone()];
    let (watcher, mut changed) = config::watch(&paths).map_err(|error| {
        Error::invalid("the directories of server.tls_certificate and tls_key cannot be watched").with_source(error)
    })?;
    let (files, cancel, metrics) = (files.clone(), cancel.clone(), metrics.clone());
    let follow = async move {
        let _watcher = watcher;
        while changed.recv().await.is_some() {
            match read(&files) {
                Ok(identity) => {
                    show(&identity, &metrics);
                    sender.send_replace(identity);
                    tracing::info!("the TLS certificate was read again");
                }
                // Such as between the renewal of one file and of the other.
                Err(error) => tracing::error!("the TLS certificate is left as it was: {}", error.chain()),
            }
        }
    };
    tasks.spawn(async move { cancel.run_until_cancelled(follow).await.is_some() });
    Ok(identity)
}

/// What the files hold now.
///
/// # Errors
/// If a file cannot be read, or the two are of no use.
pub fn read(files: &TlsFiles) -> Result<Identity> {
    let text = |path: &std::path::Path, key: &str| {
        read_secret(path).map_err(|error| {
            Error::invalid(format!("cannot read {} (server.{key})", path.display())).with_source(error)
        })
    };
    let (certificate, key) = (text(&files.certificate, "tls_certificate")?, text(&files.key, "tls_key")?);
    Identity::parse(certificate.as_bytes(), key.as_bytes(), SystemTime::now()).map_err(|problem| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        Error::invalid(format!("server: {problem} (tls_certificate is {certificate}, tls_key is {key})"))
    })
}

fn show(identity: &Identity, metrics: &Metrics) {
    let seconds = identity.not_after().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    metrics.tls_expires.with_label_values::<&str>(&[]).set(seconds);
}
