//! What a process uses, read from `/proc` (proc(5)).

/// Memory and CPU of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// User and system time in seconds.
    pub cpu_seconds: f64,
}

/// What process `pid` uses now; `None` once it is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    // The command name may hold spaces and parentheses: fields are counted behind its last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(Usage {
        rss_bytes: pages * rustix::param::page_size() as u64,
        cpu_seconds: (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_uses_memory() {
        assert!(super::usage(std::process::id()).is_some_and(|usage| usage.rss_bytes > 1 << 20));
        assert_eq!(super::usage(u32::MAX), None);
    }
}
