//! `server:`: where to listen, and whom RTSP lets in.

use std::net::SocketAddr;

use super::mistake::Report;
use super::nodes::parse_node;
use super::section::{Key, Section};
use super::settings::{Credentials, Server};
use super::stream::{Login, LoginKeys, PasswordFiles, read_login};
use super::values::{parse_address, parse_address_or_off, parse_file, parse_socket_path, parse_switch};

pub(super) const KEYS: &[Key] = &[
    Key::scalar("http"),
    Key::scalar("admin"),
    Key::scalar("rtsp"),
    Key::scalar("rtsp_username"),
    Key::scalar("rtsp_password"),
    Key::scalar("rtsp_password_file"),
    Key::scalar("unix"),
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
        unix: section.parsed("unix", report, parse_socket_path),
        rtsp: section.parsed("rtsp", report, parse_address_or_off).unwrap_or(defaults.rtsp),
        rtsp_login: read_rtsp_login(section, files, report),
        node: section.parsed("node", report, parse_node),
        token_file: section.parsed("token_file", report, parse_file),
    };
    check_distinct(&server, section, report);
    check_reach(&server, section, report);
    server
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
    let rtsp = server.rtsp.filter(|_| server.rtsp_login.is_none());
    for (key, address) in [("http", Some(server.http)), ("rtsp", rtsp)] {
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
    let addresses = [("http", Some(server.http)), ("admin", Some(server.admin)), ("rtsp", server.rtsp)];
    for (index, (name, address)) in addresses.iter().enumerate() {
        let same =
            |(_, other): &&(&str, Option<SocketAddr>)| other.is_some_and(|other| other.port() != 0) && other == address;
        let Some((earlier, _)) = addresses[..index].iter().find(same) else { continue };
        if let (Some(entry), Some(address)) = (section.any_of(&[name, earlier]), address) {
            let message = format!("'{earlier}' and '{name}' are both {address}; give each a port of its own");
            report.add(&entry.node.place, &section.path_of(&entry.key), message);
        }
    }
}
