//! `camshaft bench machine`, as a user runs it: on a GPU in software, on a terminal, with every file that it can write.

use serde_json::Value;
use std::process::{Command, Output};

use crate::support::{Browser, Camshaft, Counter, Gpu, command_output};

const CAMSHAFT: &str = env!("CARGO_BIN_EXE_camshaft");
const DEVICE: &str = "/dev/dri/renderD128";

/// Small pictures, for a GPU in software.
const QUICK: [&str; 4] = ["bench", "machine", "--quick", "--sizes=360p"];

/// The stages, and what the driver counts of them.
const COUNTED: [(&str, Counter); 3] =
    [("decode", Counter::H264Decoded), ("scale", Counter::Scaled), ("encode", Counter::H264Encoded)];

fn median(figures: &Value) -> f64 {
    figures["median"].as_f64().unwrap_or(0.0)
}

#[test]
fn a_machine_is_measured_and_its_budgets_are_taken() {
    let gpu = Gpu::haswell();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(at("conf.d")).unwrap();
    std::fs::write(at("camshaft.yaml"), Camshaft::yaml("limits: { hold: 1s }", "")).unwrap();
    let files = format!("--html {} --calibrate {} --work {}", at("page.html"), at("conf.d/budgets.yaml"), at("work"));
    let camshaft = gpu.command(CAMSHAFT);
    let program = std::iter::once(camshaft.get_program()).chain(camshaft.get_args());
    let program: Vec<_> = program.map(|word| word.to_str().unwrap()).collect();
    let arguments = format!("{} --cameras 2 --json {files} >{}", QUICK.join(" "), at("report.json"));
    assert!(gpu.command(CAMSHAFT).arg("probe").output().unwrap().status.success());
    let trials = COUNTED.map(|(_, counter)| gpu.count(counter));
    // Standard error is a terminal; standard output is not.
    let mut script = Command::new("script");
    script.args(["-qefc", &format!("{} {arguments}", program.join(" ")), &at("terminal")]).env("TERM", "xterm");
    script.envs(camshaft.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.output().unwrap();
    let terminal = std::fs::read_to_string(at("terminal")).unwrap();
    assert!(output.status.success(), "{terminal}");
    assert!(terminal.contains("ETA") && terminal.contains("cameras of h264 640x360, hardware"), "{terminal}");

    let report: Value = serde_json::from_str(&std::fs::read_to_string(at("report.json")).unwrap()).unwrap();
    let rates = report["rates"].as_array().unwrap();
    let of = |work: &str, decode: &str, last: &str| {
        let found = rates.iter().find(|rate| {
            let way = &rate["way"];
            let end = if way["encode"].is_null() { &way["scale"] } else { &way["encode"] };
            rate["work"] == work && way["decode"] == decode && end == last
        });
        found.unwrap_or_else(|| panic!("no {work} on {decode}, {last} in {report:#}"))
    };
    for work in ["decode", "scale", "encode", "transcode"] {
        for place in [DEVICE, "software"] {
            let rate = of(work, place, place);
            assert!(median(&rate["fps"]) > 0.0 && rate["failure"].is_null(), "{rate:#}");
            assert_eq!(median(&rate["latency_ms"]) > 0.0, work != "decode", "{rate:#}");
        }
        let beside = &of(work, "software", "software")["ffmpeg"];
        assert!(median(&beside["fps"]) > 0.0 && median(&beside["cpu_ms"]) > 0.0, "{work}: {beside:#}");
    }
    of("transcode", DEVICE, "software");
    // None of it is the CPU in disguise: beside its trials, at the start and of the service, the driver did what each second
    // came to. Cameras are decoded and scaled too, but not encoded.
    for (at, (stage, counter)) in COUNTED.into_iter().enumerate() {
        // Of pictures that keep their size nothing is scaled.
        let counts = |rate: &&Value| rate["way"][stage] == DEVICE && (stage != "scale" || rate["work"] == "transcode");
        let made: f64 = rates.iter().filter(counts).map(|rate| median(&rate["fps"])).sum();
        let done = gpu.count(counter) - 3 * trials[at];
        assert!(made > 0.0 && done as f64 >= made, "{stage}: {made} a second, but {done} in all");
    }
    for cameras in report["cameras"].as_array().unwrap() {
        assert!(cameras["fit"].as_u64() >= Some(1) && cameras["failure"].is_null(), "{cameras:#}");
    }
    assert_eq!(report["cameras"].as_array().unwrap().len(), 2);
    assert!(report["noise"].to_string().contains("taken once"), "{}", report["noise"]);

    the_page_is_whole(&at("page.html"), rates);
    the_service_takes(&report["budgets"], folder);
    another_machine_is_refused(&report);
}

/// It asks nobody for anything, and has a bar for every figure.
fn the_page_is_whole(path: &str, rates: &[Value]) {
    let page = std::fs::read_to_string(path).unwrap();
    let foreign = ["http:", "https:", "<script", "src=", "@import", "url("];
    assert!(!foreign.iter().any(|part| page.contains(part)), "{page}");
    let browser = Browser::open(&format!("file://{path}"));
    let bars = browser.run("return document.querySelectorAll('svg rect').length").as_u64().unwrap() as usize;
    let beside = rates.iter().filter(|rate| !rate["ffmpeg"]["fps"].is_null()).count();
    let waits = rates.iter().filter(|rate| !rate["latency_ms"].is_null()).count();
    assert_eq!(bars, rates.len() + beside + waits + 2);
    browser.look((390, 844), "dark");
    let too_wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(browser.run(too_wide), Value::Bool(false));
    assert_eq!(browser.console(), Vec::<String>::new());
}

fn the_service_takes(budgets: &Value, folder: tempfile::TempDir) {
    let server = Camshaft::start_in(folder);
    let metrics = server.admin("/metrics").text();
    let wanted = budgets["software_pixels"].as_u64().unwrap() / 1_000_000;
    let line = format!("camshaft_admission_budget_pixels{{resource=\"software\"}} {wanted}000000\n");
    assert!(metrics.contains(&line), "{line}{metrics}");
}

fn bench(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(CAMSHAFT).args(QUICK).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn another_machine_is_refused(report: &Value) {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.json").display().to_string();
    std::fs::write(&old, report.to_string()).unwrap();
    let work = folder.path().join("work").display().to_string();
    let quickly = ["--cameras=0", "--no-ffmpeg", "--work", &work];
    let (code, _, complaint) = bench(&[&["--compare", &old], &quickly[..]].concat());
    assert!(code == Some(1) && complaint.contains("old.json is of another machine"), "{complaint}");
    assert!(complaint.contains("GPU 8086:041a; this one is") && complaint.contains("--other-machine"), "{complaint}");

    let (code, table, complaint) = bench(&[&["--compare", &old, "--other-machine"], &quickly[..]].concat());
    assert_eq!(code, Some(0), "{complaint}");
    let compared = table.lines().filter(|line| line.contains(" before, ")).count();
    assert!(compared == 4 && table.contains("h264 640x360 transcode on software, fps: "), "{table}");
}

#[test]
fn what_cannot_be_read_or_written_is_named_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.json").display().to_string();
    std::fs::write(&other, "{\"rows\": []}").unwrap();
    let mine = folder.path().join("mine.yaml").display().to_string();
    std::fs::write(&mine, "limits: {}\n").unwrap();
    for (arguments, reason) in [
        (["--html", "/nowhere/page.html"], "cannot write the page to /nowhere/page.html"),
        (["--html", folder.path().to_str().unwrap()], "it is a directory"),
        (["--compare", "/nowhere/old.json"], "cannot read /nowhere/old.json"),
        (["--compare", &other], "other.json is no report of `camshaft bench machine --json`"),
        (["--calibrate", "/nowhere/budgets.yaml"], "cannot write the budgets to /nowhere/budgets.yaml"),
        (["--calibrate", &mine], "mine.yaml was not written by --calibrate"),
        (["--calibrate=budgets.yaml", "--cameras=0"], "give --cameras more than 0"),
    ] {
        let (code, stdout, complaint) = bench(&arguments);
        assert!(code == Some(1) && complaint.contains(reason), "{arguments:?}: {complaint}");
        assert_eq!((stdout.as_str(), complaint.lines().count()), ("", 1), "{arguments:?}: {complaint}");
    }
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "limits: {}\n");
    let left = command_output("ls", &["-A", folder.path().to_str().unwrap()]);
    assert_eq!(String::from_utf8(left).unwrap(), "mine.yaml\nother.json\n");
}
