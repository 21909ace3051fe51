//! What work takes where nothing counts it: CPU time times what a busy core takes.
//!
//! Told the processor's rated power and its cores, a busy core takes its part of that, a quarter of it (a small
//! core, a low clock) to twice (boost, memory and power supply's share of the package). Told nothing, it takes 1 to 20 W, 4.5 W
//! being between them: cores of phones lie at the lower end, of desktops at the upper. These bounds are assumptions, wide so that they
//! hold, and the amount says MODELLED. It has nothing of what the machine takes when idle.

use std::time::Duration;

use crate::sysfs::Tree;

use super::joules::energy_uj;
use super::{Joules, Method, Scope};

/// What a busy core takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadModel {
    /// The processor's rated power in watts and how many threads of it run at once; `None` where nobody told it.
    pub rated: Option<(f64, usize)>,
    /// Threads that compute, for systems that do not tell CPU time.
    pub n_threads: usize,
}

/// Of a core, in microwatts, where nothing is known: at least, in between, at most.
const CORE_UW: [u64; 3] = [1_000_000, 4_500_000, 20_000_000];
/// Of a core, in hundredths of its part of the rated power.
const RATED_PERCENT: [f64; 3] = [25.0, 100.0, 200.0];

impl LoadModel {
    pub(super) fn name(&self) -> String {
        match self.rated {
            Some((watts, cores)) => format!("model: {watts} W over {cores} cores, by CPU time"),
            None => "model: 1 to 20 W for a busy core, by CPU time".to_owned(),
        }
    }

    /// The joules of `cpu` time; where that is not known, of one core to all threads during `time`.
    pub fn joules(&self, cpu: Option<Duration>, time: Duration) -> Joules {
        let core_uw = match self.rated {
            Some((watts, cores)) if watts > 0.0 && cores > 0 => {
                RATED_PERCENT.map(|percent| (watts * 1e6 / cores as f64 * percent / 100.0) as u64)
            }
            _ => CORE_UW,
        };
        let n_threads = u32::try_from(self.n_threads.max(1)).unwrap_or(u32::MAX);
        // The clock of CPU time ticks, at the beginning as at the end.
        let of = |cpu: Duration| [cpu.saturating_sub(TICK), cpu, cpu + TICK];
        let busy = cpu.map_or([time, time.saturating_mul(n_threads), time.saturating_mul(n_threads)], of);
        let [low_uj, value_uj, high_uj] = [0, 1, 2].map(|i| energy_uj(core_uw[i], busy[i]));
        let (method, scope) = (Method::Modelled, Scope::Package);
        Joules { value_uj, low_uj, high_uj, method, scope, idle_subtracted: true }
    }
}

/// CPU time of this process, all its threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime(pub Duration);

/// Linux tells it in hundredths of a second, on every processor that we compile for.
const TICK: Duration = Duration::from_millis(10);

/// What `proc/self/stat` says; `None` where there is none.
pub fn cpu_time(tree: &Tree) -> Option<CpuTime> {
    let text = tree.text("proc/self/stat").ok()?;
    // The program's name stands in brackets and may hold anything; state and 10 numbers come before the two that are meant.
    let mut numbers = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || numbers.next()?.parse::<u32>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(CpuTime(TICK.checked_mul(user)?.checked_add(TICK.checked_mul(system)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOULE: u64 = 1_000_000;

    #[test]
    fn a_second_of_a_core_takes_one_to_twenty_joules() {
        let model = LoadModel { rated: None, n_threads: 4 };
        let second = model.joules(Some(Duration::from_secs(1)), Duration::from_millis(250));
        assert_eq!((second.low_uj, second.value_uj, second.high_uj), (990_000, 4_500_000, 20_200_000));
        assert_eq!((second.method, second.scope), (Method::Modelled, Scope::Package));
        let unknown = model.joules(None, Duration::from_secs(1));
        assert_eq!((unknown.low_uj, unknown.value_uj, unknown.high_uj), (JOULE, 18 * JOULE, 80 * JOULE));
        let none = model.joules(Some(Duration::ZERO), Duration::ZERO);
        assert_eq!((none.low_uj, none.value_uj, none.high_uj), (0, 0, 200_000));
    }

    #[test]
    fn rated_power_is_shared_by_its_cores() {
        let model = LoadModel { rated: Some((15.0, 5)), n_threads: 5 };
        let ten = model.joules(Some(Duration::from_secs(10)), Duration::from_secs(2));
        assert_eq!((ten.low_uj, ten.value_uj, ten.high_uj), (7_492_500, 30 * JOULE, 60_060_000));
    }

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let frames = crate::sysfs::parse_recording(
            "@0\nproc/self/stat 7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0\n@1\nproc/self/stat 7 (x) S 1\n",
        );
        let frames = frames.unwrap();
        assert_eq!(cpu_time(&frames[0].tree), Some(CpuTime(Duration::from_millis(1750))));
        assert_eq!(cpu_time(&frames[1].tree), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_cpu_time() {
        let before = cpu_time(&Tree::system()).unwrap().0;
        let start = std::time::Instant::now();
        let mut n = 0u64;
        while start.elapsed() < Duration::from_secs(20) {
            n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1));
            if cpu_time(&Tree::system()).unwrap().0 >= before + Duration::from_millis(50) {
                return;
            }
        }
        panic!("20 s of work and no CPU time");
    }
}
