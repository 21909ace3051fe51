//! Three layers of Linux, each of which holds without the others.
//!
//! - **Limits** of the process: memory, addresses, processor time, no bytes written to any file, no core. A limit that is hit ends it.
//! - **Landlock** (kernel 5.13): files are read below one folder and where the system tells about itself, and changed nowhere; no
//!   TCP (6.7); no signals to others and none of their sockets (6.12). What an older kernel lacks of it the next layer has, but for the files.
//! - **seccomp** ([`calls`]): calls that open sockets, start programs, look into others or raise limits are refused, on 64-bit x86, Arm
//!   and RISC-V. It is a list of what is refused, so a call that is not on it is allowed.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub mod calls;

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rlimit::{Resource, setrlimit};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub use calls::fence_calls;

use super::{Layer, Limits};

/// Files open at once: a model's parts, and what the system shows.
const FILES_MAX: u64 = 4096;
/// Seconds behind the first signal after which the system ends a process that ignores it.
const GRACE_SECONDS: u64 = 2;
/// What is read of the system: this process, memory, processors, time zones. None of it is the user's or of other processes, of which
/// `/proc` shows too much.
const SYSTEM: [&str; 10] = [
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/pressure",
    "/proc/stat",
    "/sys",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
];
/// What is written of the system: that the most memory this process had is to be counted anew.
const OWN: [&str; 1] = ["/proc/self/clear_refs"];

/// Asks the system to end this process before others when memory runs short. Where it can't be asked, it chooses itself.
pub fn end_first() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// The first layer.
pub fn limit(limits: &Limits) -> io::Result<()> {
    let cpu = limits.cpu_seconds;
    let all = [
        (Resource::DATA, limits.memory_bytes, limits.memory_bytes),
        (Resource::AS, limits.address_bytes, limits.address_bytes),
        (Resource::CPU, cpu, cpu.saturating_add(GRACE_SECONDS)),
        (Resource::FSIZE, 0, 0),
        (Resource::CORE, 0, 0),
        (Resource::NOFILE, FILES_MAX, FILES_MAX),
        (Resource::MSGQUEUE, 0, 0),
    ];
    for (resource, soft, hard) in all {
        // What is narrower already stays.
        let (_, most) = resource.get()?;
        setrlimit(resource, soft.min(most), hard.min(most))?;
    }
    Ok(())
}

/// The second layer.
pub fn fence_files(limits: &Limits) -> Layer {
    let fence = || {
        let (files, newest) = (ABI::V5, ABI::V6);
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let folders = SYSTEM.iter().map(std::path::Path::new).chain([limits.folder.as_path()]);
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(files))?
            .handle_access(AccessNet::from_all(newest))?
            .scope(Scope::from_all(newest))?
            .create()?
            .add_rules(path_beneath_rules(folders, read))?
            .add_rules(path_beneath_rules(OWN, AccessFs::WriteFile | AccessFs::Truncate))?
            .restrict_self()
    };
    match fence() {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("this kernel has no Landlock, so files of this user can be read".to_owned())
        }
        Ok(_) => Ok(()),
        Err::<_, RulesetError>(error) => Err(format!("files of this user can be read: {error}")),
    }
}

/// The third layer, for processors that have none.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub fn fence_calls() -> Layer {
    Err(format!("connections can be opened: no calls can be refused on {}", std::env::consts::ARCH))
}
