//! The devices for people.

use std::fmt::Write;

use crate::hw::{DeviceReport, DevicesReport, Node, OwnIds, ProfileReport};
use crate::plan::{Capabilities, Claim};

const NOTHING: &str = "No GPU: /dev/dri has no render node, and PCI shows no display controller.\n";

/// Everything in `report`, with what only `nodes` and `capabilities` say.
pub fn text(report: &DevicesReport, nodes: &[Node], capabilities: &Capabilities) -> String {
    if report.devices.is_empty() {
        return NOTHING.to_owned();
    }
    let mut text = String::new();
    for device in &report.devices {
        let node = nodes.iter().find(|node| node.path.to_str() == device.path.as_deref());
        // Writing to a String cannot fail.
        let _ = describe(&mut text, device, node);
        let claims = capabilities.devices.iter().find(|known| Some(&known.path) == device.path.as_ref());
        let surfaces = claims.map_or(vec![], |known| {
            let names = |claim: &Claim| {
                let formats = claim.entry.rt_formats.iter().map(|format| format.short_name());
                formats.collect::<Vec<_>>().join(" ")
            };
            known.claims.iter().map(names).collect()
        });
        let _ = profiles(&mut text, &device.profiles, &surfaces);
        text.push('\n');
    }
    text
}

fn describe(text: &mut String, device: &DeviceReport, node: Option<&Node>) -> std::fmt::Result {
    let or_dash = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".into());
    writeln!(text, "{}", device.path.as_deref().unwrap_or("GPU without a render node"))?;
    if let Some(by_path) = &device.by_path {
        writeln!(text, "  by-path        {by_path}")?;
    }
    let id = device.vendor_id.as_ref().zip(device.device_id.as_ref());
    let id = id.map_or("-".to_owned(), |(vendor, device)| format!("{vendor}:{device}"));
    let generation = device.generation.as_deref().unwrap_or("unknown generation");
    writeln!(text, "  GPU            {generation}, {id}, PCI {}", or_dash(&device.pci))?;
    writeln!(text, "  kernel driver  {}", or_dash(&device.kernel_driver))?;
    if let Some(node) = node {
        let own = OwnIds::now();
        let groups: Vec<String> = std::iter::once(own.gid).chain(own.groups).map(|group| group.to_string()).collect();
        writeln!(text, "  node           user {}, group {}, mode {:04o}", node.uid, node.gid, node.mode)?;
        writeln!(text, "  this process   user {}, groups {}", own.uid, groups.join(" "))?;
    }
    if device.vendor_string.is_some() {
        writeln!(text, "  VA driver      {}: {}", or_dash(&device.va_driver), or_dash(&device.vendor_string))?;
        writeln!(text, "  breaker        {}", device.breaker)?;
    }
    if let Some(trouble) = &device.error {
        writeln!(text, "  NOT USABLE     {}", trouble.message)?;
    }
    Ok(())
}

fn profiles(text: &mut String, profiles: &[ProfileReport], surfaces: &[String]) -> std::fmt::Result {
    if profiles.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "  {:<24} {:<10} {:<9} {:<16} {:<24} PROVED",
        "PROFILE", "ENTRYPOINT", "UP TO", "RATE CONTROL", "SURFACES"
    )?;
    for (profile, surfaces) in profiles.iter().zip(surfaces) {
        let size = profile.max_width.zip(profile.max_height);
        let size = size.map_or("-".to_owned(), |(width, height)| format!("{width}x{height}"));
        let rate_control = if profile.rate_control.is_empty() { "-".into() } else { profile.rate_control.join(" ") };
        let proved = match (profile.proved, &profile.reason) {
            (Some(true), _) => "yes".to_owned(),
            (_, Some(reason)) => format!("no: {reason}"),
            (_, None) => "no".to_owned(),
        };
        let name = profile.profile.trim_start_matches("VAProfile");
        let entrypoint = profile.entrypoint.trim_start_matches("VAEntrypoint");
        let surfaces = if surfaces.is_empty() { "-" } else { surfaces };
        writeln!(text, "  {name:<24} {entrypoint:<10} {size:<9} {rate_control:<16} {surfaces:<24} {proved}")?;
    }
    Ok(())
}
