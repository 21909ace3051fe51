//! How much memory there may be, and how short the system is of it, by what Linux shows.
//!
//! What can be had is the least of what the machine can give ([`MemAvailable`]) and what each control group that the process is in
//! has left: limits of version 2 (`memory.max`, `memory.high`) and version 1 (`memory.limit_in_bytes`), up to the root, less what
//! the group uses; clean pages of files that were not touched lately don't count as used, as the system takes them back first.
//! How short it is says `/proc/pressure/memory`, between two looks. The files are read from a [`Tree`], so that any system can be
//! shown. Where nothing is shown, nothing is known: other systems than Linux have no budget but the one that is given.
//!
//! [`MemAvailable`]: https://www.kernel.org/doc/html/latest/filesystems/proc.html

use std::time::Duration;

use super::Pressure;
use crate::sysfs::Tree;

/// Of what can be had, one part of so many is left to others.
const RESERVE: u64 = 16;
/// Limits above this mean none, as version 1 writes it.
const NO_LIMIT: u64 = 1 << 60;
/// Groups in groups that are looked at.
const DEPTH_MAX: usize = 64;

/// Bytes that a process can still have without harm to others; `None` where the system does not say.
pub fn room(tree: &Tree) -> Option<u64> {
    let machine = tree.text("proc/meminfo").ok().and_then(|text| kib(&text, "MemAvailable:"));
    let groups = tree.text("proc/self/cgroup").map(|text| groups(&text)).unwrap_or_default();
    let left = groups.iter().filter_map(|group| group.left(tree)).min();
    machine.into_iter().chain(left).min()
}

/// A budget for a process that has `resident` bytes now and can have `room` more, of which some is left to others.
pub fn of_room(resident: u64, room: u64) -> u64 {
    resident.saturating_add(room - room / RESERVE)
}

/// A control group's folder, and its version.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    folder: String,
    is_v2: bool,
}

/// The groups of `/proc/self/cgroup` that may limit memory, each with those it is in.
fn groups(text: &str) -> Vec<Group> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, is_v2) = match controllers {
            "" => ("sys/fs/cgroup", true),
            of if of.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", false),
            _ => continue,
        };
        // A path outside of what a namespace shows leads up; what is there is the root's.
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let parts = if parts.iter().any(|part| *part == ".." || *part == ".") { &[][..] } else { &parts[..] };
        for n in 0..=parts.len().min(DEPTH_MAX) {
            let mut folder = root.to_owned();
            parts[..n].iter().for_each(|part| {
                folder.push('/');
                folder.push_str(part);
            });
            found.push(Group { folder, is_v2 });
        }
    }
    found
}

impl Group {
    /// Bytes until its limit, if it has one.
    fn left(&self, tree: &Tree) -> Option<u64> {
        let number = |name: &str| {
            let text = tree.text(&format!("{}/{name}", self.folder)).ok()?;
            text.parse::<u64>().ok().filter(|n| *n < NO_LIMIT)
        };
        let (limits, usage, idle): (&[&str], _, _) = match self.is_v2 {
            true => (&["memory.max", "memory.high"], "memory.current", "inactive_file "),
            false => (&["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_inactive_file "),
        };
        let limit = limits.iter().filter_map(|name| number(name)).min()?;
        let stat = tree.text(&format!("{}/memory.stat", self.folder)).unwrap_or_default();
        let idle = stat.lines().find_map(|line| line.strip_prefix(idle)?.trim().parse().ok()).unwrap_or(0);
        Some(limit.saturating_sub(number(usage).unwrap_or(0).saturating_sub(idle)))
    }
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// For how long programs waited for memory since the system started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stalls {
    some: Duration,
    full: Duration,
}

/// Of a time, the part in which some program waited that counts as pressure: that of lmkd's and of the kernel's own example.
const SOME: f64 = 0.15;
/// The same of all programs.
const FULL: f64 = 0.05;

impl Stalls {
    /// What the system shows; `None` where it does not.
    pub fn read(tree: &Tree) -> Option<Self> {
        let text = tree.text("proc/pressure/memory").ok()?;
        let total = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let micros = line.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
            micros.parse().ok().map(Duration::from_micros)
        };
        Some(Self { some: total("some ")?, full: total("full ").unwrap_or_default() })
    }

    /// How short of memory the system was since `before`, so long ago.
    pub fn since(&self, before: &Self, elapsed: Duration) -> Option<Pressure> {
        let part = |now: Duration, then: Duration| now.saturating_sub(then).div_duration_f64(elapsed);
        if elapsed.is_zero() {
            None
        } else if part(self.full, before.full) >= FULL {
            Some(Pressure::Full)
        } else if part(self.some, before.some) >= SOME {
            Some(Pressure::Some)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sysfs::Entry;

    const MIB: u64 = 1 << 20;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let entry = |(path, text): &(&str, &str)| ((*path).to_owned(), Entry::Text((*text).to_owned()));
        Tree::Frame(files.iter().map(entry).collect::<BTreeMap<_, _>>())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 9999999 kB\nMemAvailable: 1048576 kB");

    #[test]
    fn a_machine_without_groups_gives_what_is_available() {
        assert_eq!(room(&tree(&[MEMINFO])), Some(1024 * MIB));
        assert_eq!(room(&tree(&[])), None);
        assert_eq!(room(&tree(&[("proc/meminfo", "MemAvailable: much")])), None);
        assert_eq!(of_room(100, 160), 250);
    }

    #[test]
    fn the_tightest_group_of_version_2_counts() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/user.slice/app.scope\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "536870912"),
            ("sys/fs/cgroup/user.slice/memory.current", "400000000"),
            ("sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 263129088\nactive_file 3"),
            ("sys/fs/cgroup/user.slice/app.scope/memory.max", "max"),
            ("sys/fs/cgroup/user.slice/app.scope/memory.high", "419430400"),
            ("sys/fs/cgroup/user.slice/app.scope/memory.current", "104857600"),
        ];
        // The slice has 512 MiB - (400000000 - 263129088) left, the scope 400 - 100 MiB.
        assert_eq!(room(&tree(&files)), Some(300 * MIB));
        let slice = Group { folder: "sys/fs/cgroup/user.slice".into(), is_v2: true };
        assert_eq!(slice.left(&tree(&files)), Some(512 * MIB - (400_000_000 - 263_129_088)));
        let over =
            [files[1], files[6], ("sys/fs/cgroup/user.slice/app.scope/memory.current", "999999999999")];
        assert_eq!(room(&tree(&over)), Some(0), "a group above its limit has nothing left");
    }

    #[test]
    fn groups_of_version_1_count_too() {
        let files = [
            MEMINFO,
            (
                "proc/self/cgroup",
                "12:cpu,cpuacct:/docker/ab\n7:memory:/docker/ab\n0::/system.slice\nnonsense",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
            ("sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "209715200"),
            ("sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes", "104857600"),
            ("sys/fs/cgroup/memory/docker/ab/memory.stat", "inactive_file 0\ntotal_inactive_file 52428800"),
        ];
        assert_eq!(room(&tree(&files)), Some(150 * MIB));
        // Inside of a container without a namespace the folder is that of the root.
        let inside = [
            MEMINFO,
            files[1],
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576"),
        ];
        assert_eq!(room(&tree(&inside)), Some(99 * MIB));
    }

    #[test]
    fn paths_that_lead_out_are_not_followed() {
        let found = groups("0::/../../etc\n");
        assert_eq!(found, [Group { folder: "sys/fs/cgroup".into(), is_v2: true }]);
        assert!(groups(&format!("0::{}", "/a".repeat(5000))).len() <= DEPTH_MAX + 1);
    }

    #[test]
    fn the_files_of_a_folder_are_read_as_those_of_the_system() {
        let root = std::env::temp_dir().join(format!("ingle-budget-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/meminfo", "MemAvailable:    2097152 kB\n");
        write("proc/self/cgroup", "0::/a\n");
        write("sys/fs/cgroup/a/memory.max", "1073741824\n");
        write("sys/fs/cgroup/a/memory.current", "73741824\n");
        assert_eq!(room(&Tree::Folder(root.clone())), Some(1_000_000_000));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn stalls_between_two_looks_are_pressure() {
        let at = |some: u64, full: u64| {
            let line =
                |name: &str, total: u64| format!("{name} avg10=0.00 avg60=0.00 avg300=0.00 total={total}");
            let text = format!("{}\n{}", line("some", some), line("full", full));
            Stalls::read(&tree(&[("proc/pressure/memory", &text)])).unwrap()
        };
        let (start, second) = (at(5_000_000, 1_000_000), Duration::from_secs(1));
        assert_eq!(at(5_100_000, 1_000_000).since(&start, second), None);
        assert_eq!(at(5_150_000, 1_000_000).since(&start, second), Some(Pressure::Some));
        assert_eq!(at(5_150_000, 1_050_000).since(&start, second), Some(Pressure::Full));
        assert_eq!(at(5_150_000, 1_050_000).since(&start, second * 10), None);
        assert_eq!(start.since(&start, Duration::ZERO), None);
        assert_eq!(Stalls::read(&tree(&[("proc/pressure/memory", "some total=x")])), None);
    }
}
