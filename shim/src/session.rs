//! One run of the stand-in, from the command line to the exit code.

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::env;
use std::ffi::OsString;
use std::io;
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::camera::Reach;
use crate::client::{Answer, Client, Failure};
use crate::decision::{Decision, Local, Plan, decide};
use crate::log::{Level, Log};
use crate::outputs::Packets;
use crate::pieces::Pieces;
use crate::raw::Raw;
use crate::source::{End, Source};
use crate::{packets, real, relay};

/// ffmpeg's exit code after a signal.
const SIGNALLED: u8 = 255;
/// How often a real ffmpeg is looked at that nothing is written to.
const LOOK: Duration = Duration::from_millis(200);

/// The stand-in `ffmpeg`.
pub fn ffmpeg() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let Some(words) = arguments.iter().map(|word| word.to_str().map(str::to_owned)).collect::<Option<Vec<_>>>() else {
        return become_real("ffmpeg", &arguments, Log::new(&[]));
    };
    let log = Log::new(&words);
    let client = client();
    let reach = client.as_ref().map_or(Reach::Network, Client::reach);
    let plan = match decide(&words, reach) {
        Decision::Serve(plan) => plan,
        Decision::Delegate(reason) => {
            // Who reads a camera wonders why camshaft doesn't; for files, the real ffmpeg is as expected.
            let reads_camera = words
                .iter()
                .zip(words.iter().skip(1))
                .any(|(option, value)| option == "-i" && value.starts_with("rtsp://"));
            let level = if reads_camera { Level::Warning } else { Level::Verbose };
            log.say(level, &format!("left to the real ffmpeg: {reason}"));
            return become_real("ffmpeg", &words, log);
        }
    };
    match client {
        Ok(client) => serve(client, *plan, log),
        Err(problem) => in_software(&plan, &problem, log),
    }
}

/// The stand-in `ffprobe`: what it is asked is about files and cameras themselves, so the real one answers.
pub fn ffprobe() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    become_real("ffprobe", &arguments, Log::new(&[]))
}

fn client() -> Result<Client, String> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    Client::new(variable("CAMSHAFT_URL").as_deref(), variable("CAMSHAFT_TOKEN_FILE").as_deref())
}

fn become_real<A: AsRef<std::ffi::OsStr>>(name: &str, arguments: &[A], log: Log) -> ExitCode {
    let Err(problem) = real::exec(name, arguments);
    log.say(Level::Error, &problem);
    ExitCode::FAILURE
}

fn in_software(plan: &Plan, problem: &str, log: Log) -> ExitCode {
    log.say(Level::Warning, &format!("{problem}; the real ffmpeg decodes on the CPU instead"));
    become_real("ffmpeg", &plan.software, log)
}

fn serve(client: Client, plan: Plan, log: Log) -> ExitCode {
    let source = Arc::new(Source::new(client, plan.camera.clone(), log));
    let opened = match Opened::open(&source, &plan) {
        Ok(opened) => opened,
        Err(failure) if is_camera_away(&failure) => {
            log.say(Level::Error, &failure.to_string());
            return ExitCode::FAILURE;
        }
        Err(failure) => return in_software(&plan, &failure.to_string(), log),
    };
    match Running::start(source, opened, log) {
        Ok(running) => running.finish(),
        Err(problem) => {
            log.say(Level::Error, &problem);
            ExitCode::FAILURE
        }
    }
}

/// The real ffmpeg would not fare better.
fn is_camera_away(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { kind, .. } if kind == "unavailable" || kind == "auth_failed")
}

/// A plan with its first answers: from here on the command is served.
struct Opened {
    raw: Option<(Raw, Pieces)>,
    local: Option<OpenedLocal>,
}

/// The real ffmpeg's part, ready to start.
struct OpenedLocal {
    arguments: Vec<String>,
    /// `None`: it reads the camera itself.
    fed: Option<(Packets, Answer)>,
}

impl Opened {
    fn open(source: &Source, plan: &Plan) -> Result<Self, Failure> {
        let raw = plan.raw.clone().map(|raw| {
            let pieces = source.open(&raw)?;
            Ok::<_, Failure>((raw, pieces))
        });
        let raw = raw.transpose()?;
        let local = plan.local.as_ref().map(|local| Self::open_local(source, local)).transpose()?;
        Ok(Self { raw, local })
    }

    /// The camera's pictures may have no place in MPEG-TS (JPEGs have none): then the real ffmpeg reads the camera itself.
    fn open_local(source: &Source, local: &Local) -> Result<OpenedLocal, Failure> {
        match source.open(&local.packets) {
            Ok(answer) => Ok(OpenedLocal { arguments: local.fed.clone(), fed: Some((local.packets.clone(), answer)) }),
            Err(Failure::Refused { status: 422, .. }) => Ok(OpenedLocal { arguments: local.direct.clone(), fed: None }),
            Err(failure) => Err(failure),
        }
    }
}

enum Event {
    Raw(End),
    Packets(End),
    Signal(i32),
}

/// A command under way.
struct Running {
    child: Option<Child>,
    events: Receiver<Event>,
    log: Log,
}

impl Running {
    fn start(source: Arc<Source>, opened: Opened, log: Log) -> Result<Self, String> {
        let (sender, events) = channel();
        // First of all, so that a real ffmpeg never outlives a signal unfinished.
        watch_signals(sender.clone())?;
        let to_stdout = if opened.raw.is_some() { Stdio::null() } else { Stdio::inherit() };
        let child = opened.local.map(|local| start_local(&source, local, to_stdout, &sender));
        let child = child.transpose()?;
        if let Some((wanted, pieces)) = opened.raw {
            thread::spawn(move || sender.send(Event::Raw(relay::relay(&source, &wanted, pieces))));
        }
        Ok(Self { child, events, log })
    }

    /// Waits for the first end, ends the rest, and says what ffmpeg's exit code would be.
    fn finish(mut self) -> ExitCode {
        match self.next() {
            Event::Signal(signal) => {
                self.end_child();
                self.log.say(Level::Info, &format!("Exiting normally, received signal {signal}."));
                ExitCode::from(SIGNALLED)
            }
            Event::Packets(End::Reader(_)) => self.wait_child(),
            Event::Raw(End::Reader(error)) => {
                self.end_child();
                self.log.say(Level::Error, &format!("standard output: {error}"));
                ExitCode::FAILURE
            }
            // A camera that leaves is the end of a file to ffmpeg.
            Event::Raw(End::Lost) | Event::Packets(End::Lost) => {
                self.end_child();
                ExitCode::SUCCESS
            }
        }
    }

    /// The next event. A real ffmpeg that reads the camera itself may end without one.
    fn next(&mut self) -> Event {
        loop {
            match self.events.recv_timeout(LOOK) {
                Ok(event) => return event,
                Err(_) if self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None))) => {
                    return Event::Packets(End::Reader(io::ErrorKind::BrokenPipe.into()));
                }
                Err(_) => {}
            }
        }
    }

    fn wait_child(&mut self) -> ExitCode {
        let status = self.child.as_mut().map(Child::wait);
        match status {
            Some(Ok(status)) => {
                status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            _ => ExitCode::FAILURE,
        }
    }

    /// Asks the real ffmpeg to finish its files, and waits until it has.
    fn end_child(&mut self) {
        if let Some(child) = &self.child {
            // It may have ended by itself; it is not yet reaped, so the id is still its own.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        self.wait_child();
    }
}

/// Starts the real ffmpeg, and what feeds it. When this process is killed its standard input ends, and it finishes its
/// files as at the end of any input.
fn start_local(
    source: &Arc<Source>,
    local: OpenedLocal,
    stdout: Stdio,
    events: &Sender<Event>,
) -> Result<Child, String> {
    let stdin = if local.fed.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut command = real::command("ffmpeg")?;
    let child = command.args(local.arguments).stdin(stdin).stdout(stdout).spawn();
    let mut child =
        child.map_err(|error| format!("cannot run {}: {error}", command.get_program().to_string_lossy()))?;
    if let (Some((wanted, answer)), Some(stdin)) = (local.fed, child.stdin.take()) {
        let (source, events) = (source.clone(), events.clone());
        thread::spawn(move || events.send(Event::Packets(packets::feed(&source, &wanted, answer, stdin))));
    }
    Ok(child)
}

fn watch_signals(events: Sender<Event>) -> Result<(), String> {
    let signals = Signals::new([SIGTERM, SIGINT]);
    let mut signals = signals.map_err(|error| format!("cannot watch for signals: {error}"))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            // Nobody listens any more when all is over.
            let _ = events.send(Event::Signal(signal));
        }
    });
    Ok(())
}
