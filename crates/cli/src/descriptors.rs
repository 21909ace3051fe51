//! How many files and connections the process may have open. Where the system counts them, systems start programs with few
//! and let them ask for more.

/// The fewest that are ever counted on.
const LEAST: usize = 128;

/// Asks for `wanted` descriptors; how many of these there may be, which is at least some.
#[cfg(unix)]
pub fn allow(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = wanted as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = match current {
        Some(current) if current < wanted => {
            let more = maximum.map_or(wanted, |maximum| maximum.min(wanted));
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum });
            if raised.is_ok() { more } else { current }
        }
        _ => wanted,
    };
    usize::try_from(allowed).unwrap_or(usize::MAX).max(LEAST)
}

/// Elsewhere they are not counted.
#[cfg(not(unix))]
pub fn allow(wanted: usize) -> usize {
    wanted.max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_promised_than_were_wanted() {
        assert_eq!(allow(0), LEAST);
        let some = allow(1 << 30);
        assert!((LEAST..=1 << 30).contains(&some));
        assert_eq!(allow(some), some, "what was allowed stays so");
    }
}
