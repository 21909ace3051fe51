//! `/sys/class/power_supply/*`: what is drawn from the batteries, which is what the whole device takes, screen included.
//!
//! Only while they discharge: beside a charger a battery's power says nothing of the device's. Power is `power_now`, or
//! current times voltage, and taken to change evenly between two readings; where there is neither, the fall of `energy_now` (or of
//! `charge_now` times voltage), which gauges tell in steps: taken to be 10 mWh, so that a short answer is between nothing and 36 J. Makers do not agree whether a current that leaves
//! is negative; the status decides, and the sign is not looked at. Batteries of mice and headsets are not the device's.
//!
//! Gauges average over seconds. They are taken to be within 10 %: an assumption.

use crate::sysfs::Tree;

use super::joules::energy_uj;
use super::{Elapsed, EnergySource, Gap, Kind, Scope, Span};

pub const KIND: Kind = Kind {
    name: "battery",
    about: "/sys/class/power_supply/*/power_now, current_now and voltage_now, energy_now",
    find,
};

const FOLDER: &str = "sys/class/power_supply";
/// Microjoules of a microwatt-hour.
const UJ_PER_UWH: u64 = 3600;
/// More power than this no battery of a device gives, in microwatts: a gauge that says so is wrong.
const POWER_MAX_UW: u64 = 1_000_000_000;
/// The step in which gauges tell energy.
const STEP_UJ: u64 = 10_000 * UJ_PER_UWH;

struct Batteries {
    name: String,
    folders: Vec<String>,
    /// Whether they tell power, not only energy.
    tell_power: bool,
    /// As they were; `None` where they were not discharging.
    last: Option<Vec<Drain>>,
}

/// A battery at one moment.
#[derive(Debug, Clone, Copy)]
struct Drain {
    is_discharging: bool,
    power_uw: Option<u64>,
    energy_uj: Option<u64>,
}

fn find(tree: &Tree) -> Result<Vec<Box<dyn EnergySource>>, String> {
    let names: Vec<String> = tree.names(FOLDER).into_iter().filter(|name| is_ours(tree, name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let folders: Vec<String> = names.iter().map(|name| format!("{FOLDER}/{name}")).collect();
    let tells = |folder: &String| {
        let drain = drain(tree, folder);
        drain.power_uw.is_some() || drain.energy_uj.is_some()
    };
    if let Some(silent) = folders.iter().find(|folder| !tells(folder)) {
        return Err(format!("/{silent}: neither power, nor current and voltage, nor energy can be read"));
    }
    let tell_power = folders.iter().all(|folder| drain(tree, folder).power_uw.is_some());
    let name = format!("battery: {}", names.join(", "));
    Ok(vec![Box::new(Batteries { name, folders, tell_power, last: None })])
}

/// Whether `name` is a battery of the device itself.
pub(crate) fn is_ours(tree: &Tree, name: &str) -> bool {
    let says = |file: &str| tree.text(&format!("{FOLDER}/{name}/{file}")).unwrap_or_default();
    says("type") == "Battery" && says("scope") != "Device" && says("present") != "0"
}

fn drain(tree: &Tree, folder: &str) -> Drain {
    let number = |file: &str| tree.number(&format!("{folder}/{file}")).ok();
    let size = |file: &str| number(file).map(i64::unsigned_abs);
    let product = |a: u64, b: u64, of: u128| u64::try_from(u128::from(a) * u128::from(b) / of).ok();
    // A gauge that has no power to tell says 0.
    let power = size("power_now").filter(|&uw| uw > 0);
    let by_current = || product(size("current_now")?, size("voltage_now")?, 1_000_000);
    let energy = || size("energy_now")?.checked_mul(UJ_PER_UWH);
    // uAh times uV are 3600 pJ.
    let by_charge = || product(size("charge_now")?.checked_mul(UJ_PER_UWH)?, size("voltage_now")?, 1_000_000);
    Drain {
        is_discharging: tree.text(&format!("{folder}/status")).is_ok_and(|status| status == "Discharging"),
        power_uw: power.or_else(by_current).filter(|&uw| uw <= POWER_MAX_UW),
        energy_uj: energy().or_else(by_charge),
    }
}

impl EnergySource for Batteries {
    fn name(&self) -> &str {
        &self.name
    }

    fn scope(&self) -> Scope {
        Scope::Device
    }

    fn error_permille(&self) -> u64 {
        100
    }

    fn resolution_uj(&self) -> u64 {
        if self.tell_power { 0 } else { STEP_UJ }
    }

    fn advance(&mut self, tree: &Tree, elapsed: Elapsed) -> Result<Span, Gap> {
        let now: Vec<Drain> = self.folders.iter().map(|folder| drain(tree, folder)).collect();
        // Of two batteries one rests while the other is used, but none may be charged.
        let charges =
            |folder: &String| tree.text(&format!("{folder}/status")).is_ok_and(|status| status == "Charging");
        let is_used = now.iter().any(|drain| drain.is_discharging) && !self.folders.iter().any(charges);
        let before = std::mem::replace(&mut self.last, is_used.then(|| now.clone()));
        let Some(before) = before.filter(|_| is_used) else { return Err(Gap::NotDischarging) };
        let mut all = Span::default();
        for (before, now) in before.iter().zip(&now) {
            all = all.plus(used(before, now, elapsed)?);
        }
        Ok(all)
    }
}

/// What left one battery.
fn used(before: &Drain, now: &Drain, elapsed: Elapsed) -> Result<Span, Gap> {
    if !before.is_discharging && !now.is_discharging {
        return Ok(Span::default());
    }
    let power = |drain: &Drain| if drain.is_discharging { drain.power_uw } else { Some(0) };
    if let (Some(before), Some(now)) = (power(before), power(now)) {
        return Ok(Span::between(before, now, elapsed.awake));
    }
    if !elapsed.slept.is_zero() {
        return Err(Gap::Slept(elapsed.slept));
    }
    match (before.energy_uj, now.energy_uj) {
        (Some(before), Some(now)) if now <= before => {
            let uj = before - now;
            if uj > energy_uj(POWER_MAX_UW, elapsed.awake).saturating_add(STEP_UJ) {
                let (awake, power_max_uw) = (elapsed.awake, POWER_MAX_UW);
                return Err(Gap::Implausible { uj, awake, power_max_uw });
            }
            Ok(Span::exactly(uj))
        }
        (Some(_), Some(_)) => Err(Gap::Rose),
        _ => Err(Gap::Unreadable("the battery no longer tells its power or energy".to_owned())),
    }
}
