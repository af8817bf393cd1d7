//! The token file: read at the start, and again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::files::read_secret;
use crate::auth::{Access, Tokens};
use crate::config;
use crate::error::{Error, Result};

/// Lets in who shows a token of `file`, as it is from now on until `cancel`; everybody if there is no file.
///
/// # Errors
/// If the file cannot be read or watched, or has a mistake: nobody could tell then who may call.
pub fn access(file: Option<&Path>, cancel: &CancellationToken, tasks: &TaskTracker) -> Result<Access> {
    let Some(file) = file else { return Ok(Access::Open) };
    let (sender, tokens) = watch::channel(Arc::new(read(file)?));
    let (watcher, mut changed) = config::watch(&[file.to_owned()]).map_err(|error| {
        Error::invalid(format!("the directory of {} (server.token_file) cannot be watched", file.display()))
            .with_source(error)
    })?;
    let (file, cancel): (PathBuf, _) = (file.to_owned(), cancel.clone());
    let follow = async move {
        let _watcher = watcher;
        while changed.recv().await.is_some() {
            match read(&file) {
                Ok(tokens) => {
                    sender.send_replace(Arc::new(tokens));
                    tracing::info!("the token file was read again");
                }
                Err(error) => tracing::error!("the tokens are left as they were: {}", error.chain()),
            }
        }
    };
    tasks.spawn(async move { cancel.run_until_cancelled(follow).await.is_some() });
    Ok(Access::Tokens(tokens))
}

fn read(file: &Path) -> Result<Tokens> {
    let place = || format!("{} (server.token_file)", file.display());
    let text =
        read_secret(file).map_err(|error| Error::invalid(format!("cannot read {}", place())).with_source(error))?;
    Tokens::parse(&text).map_err(|problem| Error::invalid(format!("{}: {problem}", place())))
}
