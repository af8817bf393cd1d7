//! `camshaft frigate-config`: a Frigate configuration into one for camshaft and one for Frigate beside it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::print_json;
use crate::error::{Error, Result};
use crate::frigate::{Conversion, Service, convert};

/// Make camshaft's configuration of Frigate's, and change Frigate's to read from camshaft.
///
/// Prints camshaft's configuration and Frigate's file as a diff; nothing is written without --out-camshaft and
/// --out-frigate. What cannot be carried over stays as it is and is named on standard error. Ends with 0 if all was
/// carried over, 1 if something was not, 2 if it was called wrongly.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft frigate-config --from frigate.yml
  camshaft frigate-config --from frigate.yml --out-camshaft camshaft.yaml --out-frigate frigate.yml")]
pub struct Args {
    /// Frigate's configuration; - for standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Where Frigate reaches camshaft's API
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Where Frigate reaches camshaft's RTSP, rtsp://127.0.0.1:18554 in one pod; without it, copies go by HTTP
    #[arg(long)]
    rtsp: Option<String>,
    /// Write camshaft's configuration here
    #[arg(long, value_name = "FILE", requires = "out_frigate")]
    out_camshaft: Option<PathBuf>,
    /// Write Frigate's configuration here; may be the file that is read
    #[arg(long, value_name = "FILE", requires = "out_camshaft")]
    out_frigate: Option<PathBuf>,
    /// Print a JSON object: camshaft, frigate, diff, refusals, notes
    #[arg(long, conflicts_with = "out_camshaft")]
    json: bool,
}

/// Longer than any configuration.
const MAX_BYTES: u64 = 1 << 20;

/// Converts, prints or writes.
///
/// # Errors
/// A file that cannot be read or written, or is no configuration of Frigate's.
pub fn run(args: Args) -> Result<ExitCode> {
    let service = Service::new(&args.url, args.rtsp.as_deref())?;
    let text = read(&args.from)?;
    let name = args.from.file_name().map_or("frigate.yml".into(), |name| name.to_string_lossy());
    let conversion = convert(&name, &text, &service)
        .map_err(|remark| Error::invalid(format!("{}: {remark}", args.from.display())))?;
    print(&args, &conversion)?;
    Ok(if conversion.refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(args: &Args, conversion: &Conversion) -> Result<()> {
    if args.json {
        return print_json(conversion);
    }
    for note in &conversion.notes {
        eprintln!("note: {note}");
    }
    for refusal in &conversion.refusals {
        eprintln!("not carried over: {refusal}");
    }
    match (&args.out_camshaft, &args.out_frigate) {
        (Some(camshaft), Some(frigate)) => {
            write(camshaft, &conversion.camshaft)?;
            write(frigate, &conversion.frigate)
        }
        _ => {
            print!("{}\n{}", conversion.camshaft, conversion.diff);
            Ok(())
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let cannot = |error| Error::invalid(format!("cannot read {}", path.display())).with_source(error);
    let mut text = String::new();
    let file: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path).map_err(cannot)?),
    };
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::invalid(format!("{} is longer than {MAX_BYTES} bytes", path.display())));
    }
    Ok(text)
}

/// A new file is for its owner only: it may hold passwords.
fn write(path: &Path, text: &str) -> Result<()> {
    let cannot = |error| Error::invalid(format!("cannot write {}", path.display())).with_source(error);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}
