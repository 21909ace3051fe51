//! Heat, battery, power mode and load, as Linux shows them.
//!
//! Of the thermal zones the one counts that is nearest to where it throttles. A zone's own trip points say where that is;
//! one that has none counts if its name says processor, with 85 degrees. What a device does not show is `None` and
//! holds nothing back.

use crate::meter::battery_is_ours;
use crate::sysfs::Tree;

const ZONES: &str = "sys/class/thermal";
const SUPPLIES: &str = "sys/class/power_supply";
const POLICY: &str = "sys/devices/system/cpu/cpufreq/policy0";
/// Where processors throttle that do not say, in thousandths of a degree.
const THROTTLE_MILLI_C: i64 = 85_000;
/// A zone that throttles below this has trip points for something else, or none that are set.
const TRIP_MIN_MILLI_C: i64 = 35_000;
/// Trip points of a zone that are looked at.
const TRIPS_MAX: usize = 16;
/// What a sensor that works can say, in thousandths of a degree.
const SENSIBLE_MILLI_C: std::ops::Range<i64> = -40_000..150_000;
/// Names of zones on or beside the processor.
const PROCESSOR: &[&str] = &["x86_pkg_temp", "cpu", "soc", "coretemp", "bigcore", "littlecore", "package"];

/// The zone that is nearest to throttling, in thousandths of a degree Celsius.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heat {
    /// As it is.
    pub milli_c: i64,
    /// Where it throttles.
    pub throttle_milli_c: i64,
    /// Where the system switches off, if the zone says.
    pub critical_milli_c: Option<i64>,
}

/// The device's battery; of several their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Battery {
    /// How full.
    pub percent: u8,
    /// Whether something is drawn from it.
    pub is_discharging: bool,
}

/// What runs and waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Threads that run or want to, in thousandths, as a mean of the last minute.
    pub running_milli: u32,
    /// Of the last ten seconds, when somebody waited for a processor, in thousandths.
    pub cpu_pressure_permille: Option<u32>,
    /// The same for memory.
    pub memory_pressure_permille: Option<u32>,
}

/// What a system shows of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Senses {
    /// Heat.
    pub heat: Option<Heat>,
    /// Battery.
    pub battery: Option<Battery>,
    /// Whether a charger or the mains are there.
    pub has_mains: Option<bool>,
    /// Whether the user or the system has chosen to save power.
    pub saves_power: bool,
    /// Load.
    pub load: Option<Load>,
}

impl Senses {
    /// From what `tree` shows.
    pub fn read(tree: &Tree) -> Self {
        Self {
            heat: heat(tree),
            battery: battery(tree),
            has_mains: has_mains(tree),
            saves_power: saves_power(tree),
            load: load(tree),
        }
    }
}

fn heat(tree: &Tree) -> Option<Heat> {
    let zones = tree.names(ZONES).into_iter().filter(|name| name.starts_with("thermal_zone"));
    zones.filter_map(|name| zone(tree, &format!("{ZONES}/{name}"))).min_by_key(|heat| {
        let to_the_end = heat.critical_milli_c.unwrap_or(i64::MAX).saturating_sub(heat.milli_c);
        (heat.throttle_milli_c - heat.milli_c).min(to_the_end)
    })
}

fn zone(tree: &Tree, folder: &str) -> Option<Heat> {
    let milli_c = tree.number(&format!("{folder}/temp")).ok().filter(|t| SENSIBLE_MILLI_C.contains(t))?;
    let name = tree.text(&format!("{folder}/type")).unwrap_or_default().to_lowercase();
    let trip = |i: usize| {
        let kind = tree.text(&format!("{folder}/trip_point_{i}_type")).ok()?;
        let at = tree.number(&format!("{folder}/trip_point_{i}_temp")).ok()?;
        (TRIP_MIN_MILLI_C..SENSIBLE_MILLI_C.end).contains(&at).then_some((kind, at))
    };
    let trips: Vec<(String, i64)> = (0..TRIPS_MAX).filter_map(trip).collect();
    let lowest = |meant: &[&str]| {
        trips.iter().filter(|(kind, _)| meant.contains(&kind.as_str())).map(|(_, at)| *at).min()
    };
    let critical_milli_c = lowest(&["critical"]);
    let of_processor = || PROCESSOR.iter().any(|word| name.starts_with(word)).then_some(THROTTLE_MILLI_C);
    let throttle_milli_c = lowest(&["passive", "hot"])
        .or_else(|| Some(of_processor()?.min(critical_milli_c.unwrap_or(i64::MAX))))
        .or(critical_milli_c)?;
    Some(Heat { milli_c, throttle_milli_c, critical_milli_c })
}

fn battery(tree: &Tree) -> Option<Battery> {
    let names: Vec<String> =
        tree.names(SUPPLIES).into_iter().filter(|name| battery_is_ours(tree, name)).collect();
    let percents = names.iter().filter_map(|name| tree.count(&format!("{SUPPLIES}/{name}/capacity")).ok());
    let percents: Vec<u64> = percents.map(|percent| percent.min(100)).collect();
    let is = |status: &str| {
        names
            .iter()
            .any(|name| tree.text(&format!("{SUPPLIES}/{name}/status")).is_ok_and(|now| now == status))
    };
    let percent = percents.iter().sum::<u64>().checked_div(percents.len() as u64)?;
    let percent = u8::try_from(percent).unwrap_or(100);
    Some(Battery { percent, is_discharging: is("Discharging") && !is("Charging") })
}

fn has_mains(tree: &Tree) -> Option<bool> {
    let is_charger = |name: &String| {
        let kind = tree.text(&format!("{SUPPLIES}/{name}/type")).unwrap_or_default();
        ["Mains", "USB", "Wireless"].contains(&kind.as_str())
    };
    let chargers = tree.names(SUPPLIES).into_iter().filter(is_charger);
    let online = chargers.filter_map(|name| tree.count(&format!("{SUPPLIES}/{name}/online")).ok());
    online.map(|online| online > 0).reduce(|a, b| a || b)
}

fn saves_power(tree: &Tree) -> bool {
    if let Ok(profile) = tree.text("sys/firmware/acpi/platform_profile") {
        return ["low-power", "quiet"].contains(&profile.as_str());
    }
    let says = |file: &str| tree.text(&format!("{POLICY}/{file}")).unwrap_or_default();
    // Under drivers that choose clocks themselves this name is the usual one and the preference tells.
    if ["intel_pstate", "amd-pstate-epp", "amd-pstate"].contains(&says("scaling_driver").as_str()) {
        return says("energy_performance_preference") == "power";
    }
    says("scaling_governor") == "powersave"
}

fn load(tree: &Tree) -> Option<Load> {
    let text = tree.text("proc/loadavg").ok()?;
    Some(Load {
        running_milli: milli(text.split_whitespace().next()?)?,
        cpu_pressure_permille: pressure(tree, "cpu"),
        memory_pressure_permille: pressure(tree, "memory"),
    })
}

/// `some avg10=1.53 ...` as 15.
fn pressure(tree: &Tree, of: &str) -> Option<u32> {
    let text = tree.text(&format!("proc/pressure/{of}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    Some(milli(percent)? / 100)
}

/// A number with decimals in thousandths.
fn milli(text: &str) -> Option<u32> {
    let n = text.parse::<f64>().ok().filter(|n| (0.0..1e6).contains(n))?;
    Some((n * 1000.0).round() as u32)
}
