//! `/sys/class/hwmon/*`: sensors on boards and in processors.
//!
//! A folder of sensors says a chip's name and little of what hangs on it: graphics cards, disks and batteries are here
//! too, some of them a second time. So only the chips of [`CHIPS`] are read, of which the kernel's documentation says what they
//! measure. They are taken to be within 5 %: an assumption.

use crate::sysfs::Tree;

use super::{Counter, Elapsed, EnergySource, Gap, Kind, Scope, Span, unreadable};

pub const KIND: Kind = Kind {
    name: "hwmon",
    about: "/sys/class/hwmon/*/energy*_input, power*_input and power*_average of chips that are known",
    find,
};

const FOLDER: &str = "sys/class/hwmon";
/// What a socket can take, in microwatts.
const POWER_MAX_UW: u64 = 1_000_000_000;
/// The highest number of a sensor that is looked for.
const SENSORS_MAX: usize = 512;

/// A chip and which of its sensors say what is asked.
struct Chip {
    name: &'static str,
    /// Which file a sensor has, its number between the two.
    file: [&'static str; 2],
    /// What its label begins with; empty for chips whose sensors have none.
    label: &'static str,
    is_energy: bool,
    scope: Scope,
}

/// Chips that are known, the best first.
static CHIPS: &[Chip] = &[
    // Counters of AMD's sockets.
    Chip {
        name: "amd_energy",
        file: ["energy", "_input"],
        label: "Esocket",
        is_energy: true,
        scope: Scope::Package,
    },
    // Power of AMD's packages of family 15h and 16h.
    Chip {
        name: "fam15h_power",
        file: ["power", "_input"],
        label: "",
        is_energy: false,
        scope: Scope::Package,
    },
    // The power meter of ACPI 4.0: what a server takes.
    Chip {
        name: "power_meter",
        file: ["power", "_average"],
        label: "",
        is_energy: false,
        scope: Scope::Device,
    },
];

struct Sensors {
    name: String,
    scope: Scope,
    sensors: Vec<Sensor>,
}

struct Sensor {
    path: String,
    last: Last,
}

enum Last {
    Energy(Counter),
    PowerUw(Option<u64>),
}

fn find(tree: &Tree) -> Result<Vec<Box<dyn EnergySource>>, String> {
    let folders: Vec<String> =
        tree.names(FOLDER).into_iter().map(|name| format!("{FOLDER}/{name}")).collect();
    let mut found: Vec<Box<dyn EnergySource>> = Vec::new();
    for chip in CHIPS {
        let is_it =
            |folder: &&String| tree.text(&format!("{folder}/name")).is_ok_and(|name| name == chip.name);
        let mut sensors = Vec::new();
        for folder in folders.iter().filter(is_it) {
            for path in chip.sensors(tree, folder) {
                tree.count(&path).map_err(|e| unreadable(&path, &e))?;
                let last = match chip.is_energy {
                    true => Last::Energy(Counter::new(None, POWER_MAX_UW)),
                    false => Last::PowerUw(None),
                };
                sensors.push(Sensor { path, last });
            }
        }
        if !sensors.is_empty() {
            found.push(Box::new(Sensors {
                name: format!("hwmon: {}", chip.name),
                scope: chip.scope,
                sensors,
            }));
        }
    }
    Ok(found)
}

impl Chip {
    /// The files in `folder` that it means.
    fn sensors(&self, tree: &Tree, folder: &str) -> Vec<String> {
        let [kind, what] = self.file;
        let number = |name: &str| name.strip_prefix(kind)?.strip_suffix(what)?.parse::<usize>().ok();
        let names = tree.names(folder);
        let numbers = names.iter().filter_map(|name| number(name)).filter(|&n| n <= SENSORS_MAX);
        let is_meant = |n: &usize| {
            let label = tree.text(&format!("{folder}/{kind}{n}_label")).unwrap_or_default();
            self.label.is_empty() || label.starts_with(self.label)
        };
        numbers.filter(is_meant).map(|n| format!("{folder}/{kind}{n}{what}")).collect()
    }
}

impl EnergySource for Sensors {
    fn name(&self) -> &str {
        &self.name
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn error_permille(&self) -> u64 {
        50
    }

    fn advance(&mut self, tree: &Tree, elapsed: Elapsed) -> Result<Span, Gap> {
        let mut all = Ok(Span::default());
        for sensor in &mut self.sensors {
            all = match (all, sensor.advance(tree, elapsed)) {
                (Ok(sum), Ok(span)) => Ok(sum.plus(span)),
                (Err(gap), _) | (_, Err(gap)) => Err(gap),
            };
        }
        all
    }
}

impl Sensor {
    fn advance(&mut self, tree: &Tree, elapsed: Elapsed) -> Result<Span, Gap> {
        let Self { path, last } = self;
        let read = tree.count(path).map_err(|e| Gap::Unreadable(unreadable(path, &e)));
        let not_before = || Gap::Unreadable(format!("/{path}: not read before"));
        match last {
            Last::Energy(counter) => {
                let uj = read.inspect_err(|_| counter.lost())?;
                let is_begun = counter.is_begun();
                let span = counter.step(uj, elapsed)?;
                if is_begun { Ok(span) } else { Err(not_before()) }
            }
            Last::PowerUw(last) => {
                let now = read.inspect_err(|_| *last = None)?;
                let before = last.replace(now).ok_or_else(not_before)?;
                Ok(Span::between(before, now, elapsed.awake))
            }
        }
    }
}
