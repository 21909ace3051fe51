//! What the machine can still give, and what this process has taken.

use std::fs;

/// Bytes the system can hand out without swapping; `None` where it does not say.
pub fn available_bytes() -> Option<u64> {
    field_kib(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// The most memory this process has had resident; `None` where the system does not say.
pub fn peak_resident_bytes() -> Option<u64> {
    field_kib(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory this process has resident; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    field_kib(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// From now on [`peak_resident_bytes`] counts anew. Says whether the system did so.
pub fn forget_peak_resident() -> bool {
    // 5 is what Linux takes for this, from 4.0 on.
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_kib_and_strange_ones_are_none() {
        let text = "MemTotal:  10 kB\nMemAvailable:    2048 kB\nVmHWM: many kB\n";
        assert_eq!(field_kib(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(field_kib(text, "VmHWM:"), None);
        assert_eq!(field_kib(text, "Absent:"), None);
    }
}
