//! `server:`: where to listen, and whom the servers let in.

use std::net::SocketAddr;

use super::mistake::Report;
use super::nodes::parse_node;
use super::section::{Key, Section};
use super::settings::{Credentials, Server, TlsFiles};
use super::stream::{Login, LoginKeys, PasswordFiles, read_login};
use super::values::{parse_address, parse_address_or_off, parse_file, parse_socket_path, parse_switch};

pub(super) const KEYS: &[Key] = &[
    Key::scalar("http"),
    Key::scalar("https"),
    Key::scalar("admin"),
    Key::scalar("rtsp"),
    Key::scalar("rtsps"),
    Key::scalar("tls_certificate"),
    Key::scalar("tls_key"),
    Key::scalar("rtsp_username"),
    Key::scalar("rtsp_password"),
    Key::scalar("rtsp_password_file"),
    Key::scalar("unix"),
    Key::list("unix_users"),
    Key::scalar("node"),
    Key::scalar("token_file"),
    Key::scalar("open_to_network"),
];

const RTSP_LOGIN: LoginKeys =
    LoginKeys { username: "rtsp_username", password: "rtsp_password", password_file: "rtsp_password_file" };

/// Reads `server:`.
pub(super) fn read(section: &Section, files: PasswordFiles, report: &mut Report) -> Server {
    let defaults = Server::default();
    let server = Server {
        http: section.parsed("http", report, parse_address).unwrap_or(defaults.http),
        admin: section.parsed("admin", report, parse_address).unwrap_or(defaults.admin),
        https: section.parsed("https", report, parse_address_or_off).flatten(),
        unix: section.parsed("unix", report, parse_socket_path),
        unix_users: section.list("unix_users", report, str::parse),
        rtsp: section.parsed("rtsp", report, parse_address_or_off).unwrap_or(defaults.rtsp),
        rtsps: section.parsed("rtsps", report, parse_address_or_off).flatten(),
        tls: read_tls_files(section, report),
        rtsp_login: read_rtsp_login(section, files, report),
        node: section.parsed("node", report, parse_node),
        token_file: section.parsed("token_file", report, parse_file),
    };
    check_distinct(&server, section, report);
    check_reach(&server, section, report);
    check_users(section, report);
    server
}

/// Both files and something that shows them, or none of it: what is encrypted only as somebody believes is worse than what
/// is plainly not.
fn read_tls_files(section: &Section, report: &mut Report) -> Option<TlsFiles> {
    let certificate = section.parsed("tls_certificate", report, parse_file);
    let key = section.parsed("tls_key", report, parse_file);
    let is_off = |key| section.field(key, &mut Report::default()).and_then(|field| field.text()) == Some("off");
    let listeners: Vec<_> = ["https", "rtsps"].into_iter().filter(|key| !is_off(*key)).collect();
    let given = [
        (section.any_of(&listeners), "'tls_certificate' and 'tls_key'", &["tls_certificate", "tls_key"][..]),
        (section.entry("tls_certificate"), "'tls_key', and an address for 'https' or 'rtsps'", &["tls_key"]),
        (section.entry("tls_key"), "'tls_certificate', and an address for 'https' or 'rtsps'", &["tls_certificate"]),
    ];
    for (entry, missing, keys) in given {
        let lacks = keys.iter().any(|key| section.entry(key).is_none()) || section.any_of(&listeners).is_none();
        if let Some(entry) = entry.filter(|_| lacks) {
            report.add(&entry.node.place, &section.path_of(&entry.key), format!("needs {missing} beside it"));
        }
    }
    Some(TlsFiles { certificate: certificate?, key: key? })
}

/// A list that nobody is held against would be taken for a lock.
fn check_users(section: &Section, report: &mut Report) {
    if let (Some(entry), None) = (section.entry("unix_users"), section.entry("unix")) {
        report.add(&entry.node.place, &section.path_of("unix_users"), "needs 'unix' beside it");
    }
}

fn read_rtsp_login(section: &Section, files: PasswordFiles, report: &mut Report) -> Option<Credentials> {
    let Login { username, password } = read_login(section, &RTSP_LOGIN, files, report);
    let given = [
        (section.any_of(&["rtsp_username"]), "'rtsp_password' or 'rtsp_password_file'"),
        (section.any_of(&["rtsp_password", "rtsp_password_file"]), "'rtsp_username'"),
    ];
    // Half a login would let everybody in where somebody meant to keep them out.
    if let [(Some(entry), missing), (None, _)] | [(None, _), (Some(entry), missing)] = given {
        report.add(&entry.node.place, &section.path_of(&entry.key), format!("needs {missing} beside it"));
    }
    Some(Credentials { username: username?, password: password? })
}

/// What others reach must know who they are, unless somebody says that the network sees to that.
fn check_reach(server: &Server, section: &Section, report: &mut Report) {
    let told = section.parsed("open_to_network", report, parse_switch).unwrap_or(false);
    if told || server.token_file.is_some() {
        return;
    }
    let closed = server.rtsp_login.is_some();
    let (rtsp, rtsps) = (server.rtsp.filter(|_| !closed), server.rtsps.filter(|_| !closed));
    let addresses = [("http", Some(server.http)), ("https", server.https), ("rtsp", rtsp), ("rtsps", rtsps)];
    for (key, address) in addresses {
        let Some(address) = address.filter(|address| !address.ip().is_loopback()) else { continue };
        let message = format!(
            "{address} is reached from other machines, and nobody is asked who they are: name a 'token_file', or set \
             'open_to_network: true' where a firewall or a network policy decides who gets there"
        );
        if let Some(entry) = section.any_of(&[key]) {
            report.add(&entry.node.place, &section.path_of(key), message);
        }
    }
}

/// Each port is one server's.
fn check_distinct(server: &Server, section: &Section, report: &mut Report) {
    let addresses = [
        ("http", Some(server.http)),
        ("admin", Some(server.admin)),
        ("rtsp", server.rtsp),
        ("https", server.https),
        ("rtsps", server.rtsps),
    ];
    for (index, (name, address)) in addresses.iter().enumerate() {
        let same =
            |(_, other): &&(&str, Option<SocketAddr>)| other.is_some_and(|other| other.port() != 0) && other == address;
        let Some((earlier, _)) = addresses.iter().take(index).find(same) else { continue };
        if let (Some(entry), Some(address)) = (section.any_of(&[name, earlier]), address) {
            let message = format!("'{earlier}' and '{name}' are both {address}; give each a port of its own");
            report.add(&entry.node.place, &section.path_of(&entry.key), message);
        }
    }
}
