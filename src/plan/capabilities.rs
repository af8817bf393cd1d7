//! What devices say they can do, and what they have proved. Pure data.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::va::{Entrypoint, FourCc, Profile, RateControlMode, RtFormat};
use crate::media::Geometry;

/// What a VA driver says that it can do on one render node. A claim, not a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTable {
    /// The driver that libva loaded, as in `LIBVA_DRIVER_NAME`: `iHD`, `i965`.
    pub va_driver: Option<String>,
    /// `vaQueryVendorString()`.
    pub vendor_string: String,
    /// One for each profile and entrypoint.
    pub entries: Vec<TableEntry>,
}

/// What a driver says about one profile and entrypoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The codec profile; [`Profile::None`] for video processing.
    pub profile: Profile,
    /// What is done with it.
    pub entrypoint: Entrypoint,
    /// The rate control of an encoder.
    pub rate_control: Vec<RateControlMode>,
    /// The largest picture, if the driver says.
    pub max_size: Option<Geometry>,
    /// The surfaces that it works on; empty if the driver does not say.
    pub rt_formats: Vec<RtFormat>,
    /// Their layouts; empty if the driver does not say.
    pub surface_formats: Vec<FourCc>,
}

/// Why a render node has no table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceError {
    /// open(2) failed.
    Open {
        /// Its errno.
        errno: i32,
    },
    /// The node is no DRM device.
    NotDrm,
    /// libva found no driver to load.
    DriverMissing {
        /// `LIBVA_DRIVER_NAME`, if it is set.
        forced: Option<String>,
    },
    /// A driver was loaded and will not have the device.
    DriverRefused {
        /// `LIBVA_DRIVER_NAME`, if it is set.
        forced: Option<String>,
        /// The driver that was loaded.
        driver: String,
        /// What `vaInitialize()` gave.
        status: i32,
        /// `vaErrorStr()` of it.
        text: String,
    },
    /// The driver took the device and then would not say what it can do.
    Query {
        /// The call that failed.
        call: String,
        /// `vaErrorStr()` of what it gave.
        text: String,
    },
    /// The worker that asked the driver ended without an answer: drivers abort and segfault.
    WorkerDied {
        /// How it ended.
        how: String,
    },
}

/// Whether a claim has been tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Not yet.
    #[default]
    Untried,
    /// Its trial came out right.
    Proved,
    /// Its trial failed.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// A claim and its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What the driver says.
    pub entry: TableEntry,
    /// Whether it is so.
    pub proof: Proof,
    /// The rate control that an encoder has been proved with.
    pub proved_rates: Vec<RateControlMode>,
}

/// Whether new work may go to a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// It may.
    #[default]
    Closed,
    /// It may not, until a trial goes well.
    Open {
        /// Why, for people.
        reason: String,
    },
    /// It may not, until somebody closes the breaker by hand.
    Held {
        /// Why, for people.
        reason: String,
    },
}

impl Breaker {
    /// The name of each state, as in JSON and metrics.
    pub const NAMES: [&str; 3] = ["closed", "open", "held"];

    /// `closed`, `open` or `held`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => Self::NAMES[0],
            Self::Open { .. } => Self::NAMES[1],
            Self::Held { .. } => Self::NAMES[2],
        }
    }

    /// Why no new work goes to the device; `None` while it may.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Closed => None,
            Self::Open { reason } | Self::Held { reason } => Some(reason),
        }
    }
}

/// One device, as far as a plan must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCapabilities {
    /// The render node's path.
    pub path: String,
    /// Its PCI address, if it is a PCI device.
    pub pci: Option<PciAddress>,
    /// What it is, for people: `i965 on Haswell`.
    pub name: String,
    /// What its driver says that it can do; empty if the driver could not be asked.
    pub claims: Vec<Claim>,
    /// Whether new work may go to it.
    pub breaker: Breaker,
    /// Streams that it works for now.
    pub load: usize,
    /// Why it cannot be used at all, for people.
    pub error: Option<String>,
}

impl DeviceCapabilities {
    /// Whether anything is proved.
    pub fn is_usable(&self) -> bool {
        self.error.is_none() && self.claims.iter().any(|claim| claim.proof == Proof::Proved)
    }
}

/// All devices of this machine, and which of them may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Every render node.
    pub devices: Vec<DeviceCapabilities>,
    /// `hardware.device` of the configuration.
    pub choice: DeviceChoice,
}

/// Which device may be used: `hardware.device`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// The least loaded that has proved what is asked.
    #[default]
    Auto,
    /// The render node of this path.
    Path(String),
    /// The device at this PCI address.
    Pci(PciAddress),
}

impl DeviceChoice {
    /// Whether `device` may be used.
    pub fn admits(&self, device: &DeviceCapabilities) -> bool {
        match self {
            Self::Auto => true,
            Self::Path(path) => *path == device.path,
            Self::Pci(address) => device.pci.as_ref() == Some(address),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if let Some(address) = text.strip_prefix("pci:")
            && let Some(address) = PciAddress::parse(address)
        {
            return Ok(Self::Pci(address));
        }
        if text.starts_with('/') {
            return Ok(Self::Path(text.to_owned()));
        }
        Err("must be auto, the path of a render node such as /dev/dri/renderD128, or pci:0000:00:02.0".into())
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Path(path) => f.write_str(path),
            Self::Pci(address) => write!(f, "pci:{address}"),
        }
    }
}

/// A PCI address, `domain:bus:device.function`, as sysfs writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress(String);

impl PciAddress {
    /// `0000:00:02.0`; `None` if `text` is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase())
        };
        // A virtual device's domain has more digits.
        let domain = (4..=8).any(|digits| hex(domain, digits));
        (domain && hex(bus, 2) && hex(device, 2) && hex(function, 1)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_chosen_by_path_or_pci_address() {
        for text in ["auto", "/dev/dri/renderD129", "pci:0000:00:02.0"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["", "renderD128", "pci:", "pci:00:02.0", "pci:0000:00:02.0.1", "pci:0000:00:0G.0", "Auto"] {
            let problem = text.parse::<DeviceChoice>().unwrap_err();
            assert!(problem.contains("/dev/dri/renderD128"), "{text}: {problem}");
        }
    }
}
