//! Calls that a child can't make: a list of what is refused, and of nothing else.
//!
//! On x86-64 there are two more ways to make a call: by numbers of the x32 form, which are refused whatever they are, and by those of
//! 32-bit programs, which end the process, as every filter is for one architecture.

use std::collections::BTreeMap;

#[cfg(target_arch = "x86_64")]
use seccompiler::sock_filter;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::Layer;

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
        #[cfg(target_arch = "x86_64")]
        refuse_x32()?;
        apply(refused, libc::EPERM)?;
        // Its arguments can't be seen here; whoever is told that it is not there asks for `clone`.
        apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
    };
    fence().map_err(|error| format!("connections can be opened: {error}"))
}

/// Refuses every call by a number of the x32 form, which a kernel may have been built with: they do the same as the others and have
/// numbers that no list has.
#[cfg(target_arch = "x86_64")]
pub fn refuse_x32() -> Result<(), seccompiler::Error> {
    // The kernel's words: load what lies at a place of what it says of the call, jump if that is at least so much, return.
    const LOAD: u16 = 0x20;
    const AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let statement = |code, jf, k| sock_filter { code, jt: 0, jf, k };
    apply_filter(&[
        statement(LOAD, 0, 0),
        statement(AT_LEAST, 1, X32_CALLS),
        statement(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        statement(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ])
}

/// Calls of the x32 form have this number and more.
#[cfg(target_arch = "x86_64")]
pub const X32_CALLS: u32 = 1 << 30;

fn apply(refused: BTreeMap<i64, Vec<SeccompRule>>, error: libc::c_int) -> Result<(), seccompiler::Error> {
    let says = SeccompAction::Errno(error.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(refused, SeccompAction::Allow, says, arch)?.try_into()?;
    apply_filter(&program)
}
