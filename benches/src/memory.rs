//! What of this process is in memory, as Linux counts it.

use crate::Fallible;

/// Bytes that are resident now.
///
/// # Errors
///
/// When the system does not say.
pub fn resident_bytes() -> Fallible<u64> {
    status_bytes("VmRSS:")
}

/// The most bytes that were ever resident.
///
/// # Errors
///
/// When the system does not say.
pub fn peak_resident_bytes() -> Fallible<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(name: &str) -> Fallible<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.ok_or_else(|| format!("/proc/self/status has no {name} in kB"))?;
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}
