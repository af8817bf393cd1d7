//! Memory of one process, read from `/proc` (proc(5)).

use std::fs;

/// Bytes that go with process `pid`: its anonymous and shared memory, without the files that it maps; `None` once it is gone.
pub fn private_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some((field("RssAnon")? + field("RssShmem")?) << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_this_process_takes_is_counted() {
        let before = super::private_bytes(std::process::id()).unwrap();
        let taken = std::hint::black_box(vec![1u8; 32 << 20]);
        let after = super::private_bytes(std::process::id()).unwrap();
        assert!(after >= before + (24 << 20), "{before} then {after} with {} bytes more", taken.len());
        assert_eq!(super::private_bytes(u32::MAX), None);
    }
}
