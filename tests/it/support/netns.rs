//! A camera on a network of its own, whose cable can be pulled.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::command_output;

/// A network namespace joined to this one by a pair of virtual Ethernet devices; gone when dropped. Takes root.
pub struct Network {
    name: String,
    number: u32,
}

impl Network {
    /// Makes one; `None` where this process may not.
    pub fn make() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // Unique on the machine; interface names have 15 characters at most, subnets come out of 10.192.0.0/10.
        let number = std::process::id() * 2 + MADE.fetch_add(1, Ordering::Relaxed) % 2;
        let network = Self { name: format!("cam{number}"), number };
        let made = Command::new("ip").args(["netns", "add", &network.name]).output();
        if !made.expect("ip runs: `make test` installs it").status.success() {
            return None;
        }
        let (here, there) = network.devices();
        let name = network.name.as_str();
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", name]);
        ip(&["address", "add", &format!("{}/30", network.address(1)), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", name, "address", "add", &format!("{}/30", network.address(2)), "dev", &there]);
        ip(&["-n", name, "link", "set", &there, "up"]);
        Some(network)
    }

    /// The address of this side.
    pub fn here(&self) -> String {
        self.address(1)
    }

    /// The address of what runs in it.
    pub fn peer(&self) -> String {
        self.address(2)
    }

    /// A command that runs `program` in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Pulls the cable: packets vanish, and nobody is told.
    pub fn pull(&self) {
        ip(&["-n", &self.name, "link", "set", &self.devices().1, "down"]);
    }

    /// Plugs it in again.
    pub fn plug(&self) {
        ip(&["-n", &self.name, "link", "set", &self.devices().1, "up"]);
    }

    /// A multicast group that both sides reach each other by.
    pub fn group(&self) -> String {
        let [_, _, third, fourth] = self.address(0).parse::<std::net::Ipv4Addr>().unwrap().octets();
        let group = format!("239.255.{third}.{fourth}");
        let (here, there) = self.devices();
        ip(&["route", "add", &group, "dev", &here]);
        ip(&["-n", &self.name, "route", "add", &group, "dev", &there]);
        group
    }

    fn devices(&self) -> (String, String) {
        (format!("cama{}", self.number), format!("camb{}", self.number))
    }

    fn address(&self, host: u32) -> String {
        let address = 0x0AC0_0000 + ((self.number & 0xF_FFFF) << 2) + host;
        std::net::Ipv4Addr::from_bits(address).to_string()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.devices().0]).status();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    command_output("ip", arguments);
}
