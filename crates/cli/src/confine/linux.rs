//! Three layers of Linux, each of which holds without the others.
//!
//! - **Limits** of the process: memory, addresses, processor time, no bytes written to any file, no core. A limit that is hit ends it.
//! - **Landlock** (kernel 5.13): files are read below one folder and where the system tells about itself, and changed nowhere; no
//!   TCP (6.7); no signals to others and none of their sockets (6.12). What an older kernel lacks of it the next layer has, but for the files.
//! - **seccomp**: calls that open sockets, start programs, look into others or raise limits are refused. It is a list of what is
//!   refused, so a call that is not on it is allowed; so are the numbers of the x32 form, where a kernel was built and started with it.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rlimit::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

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

/// Calls that are refused whatever they ask for.
const REFUSED: &[libc::c_long] = &[
    // Connections.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_kill,
    // Memory that no limit of a process counts.
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // The system itself.
    libc::SYS_setrlimit,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];

/// The third layer.
pub fn fence_calls() -> Layer {
    let fence = || {
        let only_if = |argument, op, value| {
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, op, value)?;
            Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![condition])?])
        };
        let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
            REFUSED.iter().map(|&call| (call, Vec::new())).collect();
        // Threads may be made, processes not; limits may be looked at.
        let thread = libc::CLONE_THREAD.unsigned_abs().into();
        refused.insert(libc::SYS_clone, only_if(0, SeccompCmpOp::MaskedEq(thread), 0)?);
        refused.insert(libc::SYS_prlimit64, only_if(2, SeccompCmpOp::Ne, 0)?);
        #[cfg(target_arch = "x86_64")]
        for call in [libc::SYS_fork, libc::SYS_vfork] {
            refused.insert(call, Vec::new());
        }
        apply(refused, libc::EPERM)?;
        // Its arguments can't be seen here; whoever is told that it is not there asks for `clone`.
        apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
    };
    fence().map_err(|error| format!("connections can be opened: {error}"))
}

fn apply(refused: BTreeMap<i64, Vec<SeccompRule>>, error: libc::c_int) -> Result<(), seccompiler::Error> {
    let says = SeccompAction::Errno(error.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(refused, SeccompAction::Allow, says, arch)?.try_into()?;
    apply_filter(&program)
}
