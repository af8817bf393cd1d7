//! `camshaft streams`: a running service's streams, over its API.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use ureq::SendBody;
use ureq::http::header::AUTHORIZATION;
use ureq::http::{HeaderValue, Request};
use ureq::middleware::MiddlewareNext;

use super::print_json;
use crate::error::{Error, Result};
use crate::media::StreamId;

const PATIENCE: Duration = Duration::from_secs(10);

/// Show and change the streams of a running service.
///
/// What is added here is gone when the service starts again; the configuration file is left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  camshaft streams list
  camshaft streams add yard rtsp://192.168.1.10/stream1
  camshaft streams status yard --json
  camshaft streams --url http://nvr:8080 watch

Ends with 0; with 1 if the service is not there or refuses, and says why; with 2 if it was called wrongly.")]
pub struct Args {
    /// The service
    #[arg(long, env = "CAMSHAFT_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    /// A file with the token that the service wants, on its first line
    #[arg(long, env = "CAMSHAFT_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Print what the API answers
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// A line for each stream
    List,
    /// All that is known of one stream
    Status {
        /// Its name
        id: StreamId,
    },
    /// Create or replace a stream
    Add {
        /// Its name
        id: StreamId,
        /// Where its pictures come from, such as rtsp://192.168.1.10/stream1
        source: String,
        /// Connect when the first consumer comes
        #[arg(long)]
        on_demand: bool,
    },
    /// End and forget a stream
    Rm {
        /// Its name
        id: StreamId,
    },
    /// Every change of state, as it comes, until Ctrl-C
    Watch,
}

/// Does what the arguments say.
///
/// # Errors
/// If the service does not answer, or refuses.
pub fn run(args: Args) -> Result<ExitCode> {
    let service = Service::new(&args.url, args.token_file.as_deref())?;
    match args.command {
        Command::List => {
            let streams = service.get("/v1/streams")?;
            if args.json { print_json(&streams)? } else { print!("{}", table(&streams)) }
        }
        Command::Status { id } => print_json(&service.get(&format!("/v1/streams/{id}"))?)?,
        Command::Add { id, source, on_demand } => {
            let status =
                service.put(&format!("/v1/streams/{id}"), &json!({ "source": source, "on_demand": on_demand }))?;
            if args.json {
                print_json(&status)?
            } else {
                println!("{id} is there; a restart of the service forgets it")
            }
        }
        Command::Rm { id } => service.delete(&format!("/v1/streams/{id}"))?,
        Command::Watch => service.watch(args.json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One service's API.
struct Service {
    url: String,
    agent: ureq::Agent,
}

impl Service {
    fn new(url: &str, token_file: Option<&Path>) -> Result<Self> {
        if url.starts_with("https:") {
            let message = "this command speaks HTTP without TLS: give --url the address of server.http, such as \
                           http://127.0.0.1:8080 on the service's own machine";
            return Err(Error::invalid(message));
        }
        let bearer = token_file.map(bearer).transpose()?;
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .http_status_as_error(false)
            .middleware(move |mut request: Request<SendBody>, next: MiddlewareNext| {
                if let Some(bearer) = &bearer {
                    request.headers_mut().insert(AUTHORIZATION, bearer.clone());
                }
                next.handle(request)
            })
            .build();
        Ok(Self { url: url.trim_end_matches('/').to_owned(), agent: ureq::Agent::new_with_config(config) })
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.json(self.agent.get(self.at(path)).call())
    }

    fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.json(self.agent.put(self.at(path)).content_type("application/json").send(body.to_string()))
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.answer(self.agent.delete(self.at(path)).call()).map(drop)
    }

    /// Prints events as they come (WHATWG HTML, server-sent events: `event:` and `data:` lines).
    fn watch(&self, as_json: bool) -> Result<()> {
        let body = self.answer(self.agent.get(self.at("/v1/events")).call())?.into_body();
        let mut event = String::new();
        for line in BufReader::new(body.into_reader()).lines() {
            let line = line.map_err(|error| Error::unavailable("the service went away").with_source(error))?;
            match line.split_once(": ") {
                Some(("event", name)) => name.clone_into(&mut event),
                Some(("data", data)) if as_json => println!("{data}"),
                Some(("data", data)) => println!("{event}: {data}"),
                _ => {}
            }
        }
        Err(Error::unavailable("the service ended its events: is it stopping?"))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn json(&self, answer: Answer) -> Result<Value> {
        let text = self.answer(answer)?.body_mut().read_to_string();
        let text = text.map_err(|error| Error::unavailable("the service's answer broke off").with_source(error))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::unavailable(format!("{} is not camshaft's API", self.url)).with_source(error))
    }

    /// The answer, if it is one of success; else an error with the service's own words.
    fn answer(&self, answer: Answer) -> Result<ureq::http::Response<ureq::Body>> {
        let mut answer = answer.map_err(|error| {
            Error::unavailable(format!("no camshaft answers at {}: is it running? --url says where", self.url))
                .with_source(error)
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let said = serde_json::from_str::<Value>(&text).ok();
        let message = said.as_ref().and_then(|said| said.pointer("/error/message")?.as_str());
        Err(Error::unavailable(
            message.map_or_else(|| format!("the service answered {}", answer.status()), str::to_owned),
        ))
    }
}

/// The header's value for the token on the first line of `file`.
fn bearer(file: &Path) -> Result<HeaderValue> {
    let place = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::invalid(format!("cannot read the token file {place}")).with_source(error))?;
    let token = text.split_whitespace().next().unwrap_or_default();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::invalid(format!("{place} holds no token of ASCII letters")))?;
    value.set_sensitive(true);
    Ok(value)
}

type Answer = std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// The list for people.
fn table(streams: &Value) -> String {
    let mut rows = vec![["ID", "STATE", "SOURCE", "DECODED BY", "CONSUMERS"].map(str::to_owned)];
    for stream in streams.as_array().into_iter().flatten() {
        let source = &stream["source"];
        let picture = match source["codec"].as_str() {
            Some(codec) => format!("{codec} {}x{}", source["width"], source["height"]),
            None => "-".into(),
        };
        let text = |at: &str| stream.pointer(at).and_then(Value::as_str).unwrap_or("-").to_owned();
        rows.push([text("/id"), text("/state"), picture, text("/accel/decode"), stream["consumers"].to_string()]);
    }
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_stream() {
        let streams = json!([{
            "id": "yard", "state": "live", "source": { "codec": "h264", "width": 1920, "height": 1080 },
            "accel": { "decode": "software" }, "consumers": 2,
        }, { "id": "door", "state": "connecting", "source": { "codec": null }, "accel": { "decode": null }, "consumers": 0 }]);
        insta::assert_snapshot!(table(&streams), @r"
        ID    STATE       SOURCE          DECODED BY  CONSUMERS
        yard  live        h264 1920x1080  software    2
        door  connecting  -               -           0
        ");
    }
}
