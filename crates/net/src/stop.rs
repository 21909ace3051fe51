//! Flags of which any one, raised, ends a wait: the user's, and one for each group of threads that gives up together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Some flags. Clones look at the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Vec<Arc<AtomicBool>>);

impl Stop {
    pub(crate) fn new(flag: Arc<AtomicBool>) -> Self {
        Self(vec![flag])
    }

    /// These and one more.
    pub(crate) fn or(&self, flag: Arc<AtomicBool>) -> Self {
        Self(self.0.iter().cloned().chain([flag]).collect())
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.iter().any(|flag| flag.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_stops_with_its_own_flag_or_with_everybodys() {
        let (user, group) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let all = Stop::new(user.clone());
        let some = all.or(group.clone());
        group.store(true, Relaxed);
        assert!(some.is_raised() && !all.is_raised());
        group.store(false, Relaxed);
        user.store(true, Relaxed);
        assert!(some.is_raised() && all.is_raised());
    }
}
