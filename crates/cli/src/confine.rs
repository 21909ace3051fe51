//! Limits that a child of this program puts on itself before it opens what a stranger sent: what it may take, read and reach.
//!
//! The parent ([`crate::updating`]) says them in a hidden argument; the child applies them after it has read its settings and before
//! its verb runs, and nothing that comes later takes them back. The parent also closes what it would inherit, and ends it when its
//! time is over. How much of it holds is the system's to say: on Linux all of it, from kernel 5.13 on ([`linux`]); elsewhere
//! the parent's clock is all there is, and the child says so.

use std::fmt;
use std::path::PathBuf;

use crate::exit::Failure;

#[cfg(target_os = "linux")]
mod linux;

/// What a child may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that it may take of memory, mapped files not counted.
    pub memory_bytes: u64,
    /// Bytes of addresses, mapped files and threads' stacks included.
    pub address_bytes: u64,
    /// Seconds of all processors together.
    pub cpu_seconds: u64,
    /// The only folder of the user's that it may read.
    pub folder: PathBuf,
}

/// As the argument has it, with the folder last, since it may have any characters.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_bytes, address_bytes, cpu_seconds, folder } = self;
        write!(f, "{memory_bytes}:{address_bytes}:{cpu_seconds}:{}", folder.display())
    }
}

impl Limits {
    /// Reads the argument.
    ///
    /// # Errors
    /// For anything but what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(4, ':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).filter(|&n: &u64| n > 0);
        let numbers = (number(), number(), number());
        match (numbers, parts.next()) {
            ((Some(memory_bytes), Some(address_bytes), Some(cpu_seconds)), Some(folder)) => {
                Ok(Self { memory_bytes, address_bytes, cpu_seconds, folder: folder.into() })
            }
            _ => Err("expected MEMORY:ADDRESSES:SECONDS:FOLDER".to_owned()),
        }
    }
}

/// What one layer of confinement came to: nothing, or what is not limited then, and why.
pub type Layer = Result<(), String>;

/// Puts the limits on this process and all its threads to come; says what the system can't limit.
///
/// # Errors
/// Where a limit that the system has can't be set: then nothing of a stranger's is to be opened.
#[cfg(target_os = "linux")]
pub fn confine(limits: &Limits) -> Result<Vec<String>, Failure> {
    linux::end_first();
    linux::limit(limits).map_err(|e| Failure::file("limits of this process", &e))?;
    let layers = [linux::fence_files(limits), linux::fence_calls()];
    Ok(layers.into_iter().filter_map(Layer::err).collect())
}

/// The same, where there is nothing to put on.
#[cfg(not(target_os = "linux"))]
pub fn confine(_: &Limits) -> Result<Vec<String>, Failure> {
    Ok(vec!["this system's means to limit memory, files and connections are not used".to_owned()])
}

/// Sees to it that a child inherits nothing but its three streams, whoever left what open in this process.
pub fn close_for_children() {
    #[cfg(target_os = "linux")]
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_go_through_an_argument() {
        let limits = Limits { memory_bytes: 1, address_bytes: 2, cpu_seconds: 3, folder: "/a:b/c".into() };
        assert_eq!(Limits::parse(&limits.to_string()), Ok(limits));
        for text in ["", "1:2:3", "0:2:3:/", "1:2:x:/", "-1:2:3:/"] {
            assert!(Limits::parse(text).is_err(), "{text}");
        }
    }

    /// A descriptor that whoever started this program left open is not a child's.
    #[cfg(target_os = "linux")]
    #[test]
    fn children_inherit_three_streams() {
        let left = rustix::io::dup(std::io::stderr()).unwrap();
        let inherited = || {
            let list = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
            String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let n = std::os::fd::AsRawFd::as_raw_fd(&left).to_string();
        assert!(inherited().contains(&n));
        close_for_children();
        assert!(!inherited().contains(&n) || n == "3", "{:?}", inherited());
    }

    /// What a child does that has been taken over: all of it fails, and threads and arithmetic go on.
    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "the test below runs it, in a program of its own"]
    fn a_program_that_was_taken_over() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let limits =
            Limits { memory_bytes: 1 << 30, address_bytes: 1 << 36, cpu_seconds: 60, folder: folder.clone() };
        let lacking = confine(&limits).unwrap();
        if !lacking.is_empty() {
            eprintln!("not tested on this system: {lacking:?}");
            return;
        }
        let denied = |what: &str, result: std::io::Result<()>| {
            let error = result.expect_err(what);
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{what}: {error}");
        };
        denied("a program", std::process::Command::new("/bin/true").spawn().map(drop));
        denied("a connection", std::net::TcpStream::connect("127.0.0.1:9").map(drop));
        denied("a listener", std::net::TcpListener::bind("127.0.0.1:0").map(drop));
        denied("a pair", std::os::unix::net::UnixStream::pair().map(drop));
        denied("a file in the folder", std::fs::write(folder.join("new"), "x"));
        denied("a file elsewhere", std::fs::write("/tmp/ingle-taken-over", "x"));
        denied("a folder", std::fs::create_dir(folder.join("more")));
        denied("a removal", std::fs::remove_file(folder.join("m.gguf")));
        denied("a name", std::fs::rename(folder.join("m.gguf"), folder.join("n.gguf")));
        denied("what others have", std::fs::read("/etc/passwd").map(drop));
        denied(
            "its parent",
            std::fs::read(format!("/proc/{}/environ", std::os::unix::process::parent_id())).map(drop),
        );
        denied("more memory", rlimit::setrlimit(rlimit::Resource::DATA, 1 << 40, 1 << 40));
        assert_eq!(std::fs::read(folder.join("m.gguf")).unwrap(), b"weights");
        assert_eq!(std::thread::spawn(|| 2 + 2).join().unwrap(), 4);
    }

    /// Becomes a program that makes a call by a number of the x32 form.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    #[ignore = "the test below runs it, in a program of its own"]
    fn a_program_that_calls_another_way() {
        let Some(program) = std::env::var_os(FOLDER) else { return };
        linux::calls::refuse_x32().unwrap();
        let error = std::os::unix::process::CommandExt::exec(&mut std::process::Command::new(program));
        panic!("{error}");
    }

    /// A program for x86-64 that makes the call of this number and ends with the error's.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn program_that_calls(number: u32) -> Vec<u8> {
        let mut code = vec![0xb8];
        code.extend(number.to_le_bytes());
        // syscall; edi = 0; if eax is less than 0, edi = -eax; eax = 60, which ends it; syscall
        code.extend([0x0f, 0x05, 0x31, 0xff, 0x85, 0xc0, 0x79, 0x04, 0xf7, 0xd8, 0x89, 0xc7]);
        code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
        let (at, n_head) = (0x40_0000u64, 64 + 56);
        let n_bytes = n_head + code.len() as u64;
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        [at + n_head, 64, 0].iter().for_each(|n| elf.extend(n.to_le_bytes()));
        elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        // One part of memory, to read and to run.
        elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        [0, at, at, n_bytes, n_bytes, 4096].iter().for_each(|n| elf.extend(n.to_le_bytes()));
        elf.extend(code);
        elf
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn calls_by_numbers_of_the_x32_form_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let program = std::env::temp_dir().join(format!("ingle-x32-{}", std::process::id()));
        let number = linux::calls::X32_CALLS + 39;
        std::fs::write(&program, program_that_calls(number)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        // What another test started meanwhile may have the file open for a moment, as it was written.
        let plain = loop {
            match std::process::Command::new(&program).status() {
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                status => break status.unwrap(),
            }
        };
        let refused = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "confine::tests::a_program_that_calls_another_way", "--ignored"])
            .env(FOLDER, &program)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        std::fs::remove_file(&program).unwrap();
        let kernel_has = [Some(0), Some(libc::ENOSYS)].contains(&plain.code());
        assert!(kernel_has, "the kernel takes the number or does not know it: {plain:?}");
        assert_eq!(refused.code(), Some(libc::EPERM), "{refused:?}");
    }

    #[cfg(target_os = "linux")]
    const FOLDER: &str = "INGLE_TEST_FOLDER";

    #[cfg(target_os = "linux")]
    #[test]
    fn who_takes_a_child_over_has_a_release_to_read_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("ingle-taken-over-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("m.gguf"), "weights").unwrap();
        let out = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "confine::tests::a_program_that_was_taken_over", "--ignored", "--nocapture"])
            .env(FOLDER, &folder)
            .output()
            .unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("1 passed"), "{out:?}");
    }
}
