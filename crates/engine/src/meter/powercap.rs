//! `/sys/class/powercap/intel-rapl:*`: the energy counters of Intel's and AMD's packages.
//!
//! A zone at the top named `package-N` is a package; its subzones (cores, graphics) are part of it and memory is not, so both
//! are left alone, and so is `psys`, which holds the packages and whatever the maker wired to it. `intel-rapl-mmio` shows the same
//! counter by another way. Kernels since 2020 let only root read it, after an attack that listened to it.
//!
//! The processor computes or measures these figures by itself. They are taken to be within 5 %: an assumption.

use crate::sysfs::Tree;

use super::{Counter, Elapsed, EnergySource, Gap, Kind, Scope, Span, unreadable};

pub const KIND: Kind = Kind { name: "powercap", about: "/sys/class/powercap/intel-rapl:*/energy_uj", find };

const FOLDER: &str = "sys/class/powercap";
/// What a package can take where it does not say, in microwatts.
const POWER_MAX_UW: u64 = 1_000_000_000;
/// Short peaks go beyond a package's limits, by this at most.
const PEAK: u64 = 3;

struct Packages {
    name: String,
    zones: Vec<Zone>,
}

struct Zone {
    path: String,
    counter: Counter,
}

fn find(tree: &Tree) -> Result<Vec<Box<dyn EnergySource>>, String> {
    let of = |driver: &str| -> Vec<String> {
        let is_top = |name: &String| name.strip_prefix(driver).is_some_and(is_number);
        tree.names(FOLDER).into_iter().filter(is_top).collect()
    };
    let mut names = of("intel-rapl:");
    if names.is_empty() {
        names = of("intel-rapl-mmio:");
    }
    let (mut zones, mut labels) = (Vec::new(), Vec::new());
    for name in names {
        let folder = format!("{FOLDER}/{name}");
        let label = tree.text(&format!("{folder}/name")).unwrap_or_default();
        if !label.starts_with("package") {
            continue;
        }
        let path = format!("{folder}/energy_uj");
        // One package less would look like a machine that takes less.
        tree.count(&path).map_err(|e| unreadable(&path, &e))?;
        let range_uj = tree.count(&format!("{folder}/max_energy_range_uj")).ok();
        zones.push(Zone { path, counter: Counter::new(range_uj, power_max_uw(tree, &folder)) });
        labels.push(label);
    }
    if zones.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Box::new(Packages { name: format!("powercap: {}", labels.join(", ")), zones })])
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The highest limit that the zone names, and room for peaks.
fn power_max_uw(tree: &Tree, folder: &str) -> u64 {
    let limits = (0..4).flat_map(|i| ["max_power_uw", "power_limit_uw"].map(|what| (i, what)));
    let named = limits.filter_map(|(i, what)| tree.count(&format!("{folder}/constraint_{i}_{what}")).ok());
    // Firmware that has no limit names one of thousands of watts.
    let highest = named.filter(|&uw| uw > 0).max().map_or(POWER_MAX_UW, |uw| uw.saturating_mul(PEAK));
    highest.min(POWER_MAX_UW)
}

impl EnergySource for Packages {
    fn name(&self) -> &str {
        &self.name
    }

    fn scope(&self) -> Scope {
        Scope::Package
    }

    fn error_permille(&self) -> u64 {
        50
    }

    fn advance(&mut self, tree: &Tree, elapsed: Elapsed) -> Result<Span, Gap> {
        let mut all = Ok(Span::default());
        // Every zone is read, so that each begins its next step here.
        for Zone { path, counter } in &mut self.zones {
            let step = match tree.count(path) {
                Ok(uj) if counter.is_begun() => counter.step(uj, elapsed),
                Ok(uj) => {
                    let begun = counter.step(uj, elapsed);
                    // Unread until now: what it counted before is not known.
                    begun.and(Err(Gap::Unreadable(format!("/{path}: not read before"))))
                }
                Err(e) => {
                    counter.lost();
                    Err(Gap::Unreadable(unreadable(path, &e)))
                }
            };
            all = match (all, step) {
                (Ok(sum), Ok(span)) => Ok(sum.plus(span)),
                (Err(gap), _) | (_, Err(gap)) => Err(gap),
            };
        }
        all
    }
}
