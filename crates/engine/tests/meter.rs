//! Recordings of counters and batteries through a meter: exactly the joules that they say, and no others.

use std::time::Duration;

use ingle_engine::meter::{
    Counter, Elapsed, EnergySource, Gap, LoadModel, Meter, Method, Moment, Reading, Scope, Span,
};
use ingle_engine::sysfs::{Frame, Tree, parse_recording};

const JOULE: u64 = 1_000_000;
const MODEL: LoadModel = LoadModel { rated: None, n_threads: 2 };

fn moment(frame: &Frame) -> Moment {
    Moment { awake: frame.awake, slept: frame.slept }
}

/// Every reading from the first frame of a recording to its last, and what was refused.
fn replay(recording: &str) -> (Vec<Reading>, Vec<String>) {
    let frames = parse_recording(recording).unwrap();
    let (first, rest) = frames.split_first().unwrap();
    let mut meter = Meter::open(&first.tree, Vec::new(), MODEL, moment(first));
    let mark = meter.mark(&first.tree, moment(first));
    for frame in rest {
        meter.advance(&frame.tree, moment(frame));
    }
    let last = frames.last().unwrap();
    (meter.since(&mark, &last.tree, moment(last)), meter.refused().to_vec())
}

/// Value, low and high.
fn uj(reading: &Reading) -> [u64; 3] {
    [reading.joules.value_uj, reading.joules.low_uj, reading.joules.high_uj]
}

const TWO_PACKAGES: &str = "@0
sys/class/powercap/intel-rapl/enabled 1
sys/class/powercap/intel-rapl:0/name package-0
sys/class/powercap/intel-rapl:0/energy_uj 262143000000
sys/class/powercap/intel-rapl:0/max_energy_range_uj 262143328850
sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw 125000000
sys/class/powercap/intel-rapl:0/constraint_1_power_limit_uw 241000000
sys/class/powercap/intel-rapl:0:0/name core
sys/class/powercap/intel-rapl:0:0/energy_uj 5
sys/class/powercap/intel-rapl:0:1/name dram
sys/class/powercap/intel-rapl:0:1/energy_uj 5
sys/class/powercap/intel-rapl:1/name package-1
sys/class/powercap/intel-rapl:1/energy_uj 1000
sys/class/powercap/intel-rapl:1/max_energy_range_uj 262143328850
sys/class/powercap/intel-rapl:2/name psys
sys/class/powercap/intel-rapl:2/energy_uj 7
sys/class/powercap/intel-rapl-mmio:0/name package-0
sys/class/powercap/intel-rapl-mmio:0/energy_uj 262143000000
";

#[test]
fn packages_add_up_over_a_wrap_and_their_zones_are_not_counted_twice() {
    let (readings, refused) = replay(&format!(
        "{TWO_PACKAGES}@10
sys/class/powercap/intel-rapl:0/energy_uj 99671150
sys/class/powercap/intel-rapl:0:0/energy_uj 80000005
sys/class/powercap/intel-rapl:1/energy_uj 50001000
sys/class/powercap/intel-rapl:2/energy_uj 900000007
sys/class/powercap/intel-rapl-mmio:0/energy_uj 99671150
"
    ));
    assert!(refused.is_empty(), "{refused:?}");
    // 328 850 uJ to the end and 99 671 150 from the beginning are 100 J, and the other package's 50.
    let [measured, modelled] = &readings[..] else { panic!("{readings:?}") };
    assert_eq!(uj(measured), [150 * JOULE, 142_500_000, 157_500_000]);
    assert_eq!(measured.source, "powercap: package-0, package-1");
    assert_eq!((measured.joules.method, measured.joules.scope), (Method::Measured, Scope::Package));
    assert_eq!(measured.time, Duration::from_secs(10));
    assert_eq!(modelled.joules.method, Method::Modelled);
}

#[test]
fn without_permission_it_is_said_and_modelled() {
    let (readings, refused) = replay(
        "@0
sys/class/powercap/intel-rapl:0/name package-0
sys/class/powercap/intel-rapl:0/energy_uj !denied
proc/self/stat 7 (ingle) S 1 2 3 4 5 6 7 8 9 10 100 0
@2
proc/self/stat 7 (ingle) S 1 2 3 4 5 6 7 8 9 10 400 0
",
    );
    let [said] = &refused[..] else { panic!("{refused:?}") };
    assert!(said.contains("/sys/class/powercap/intel-rapl:0/energy_uj: permission denied"), "{said}");
    let [modelled] = &readings[..] else { panic!("{readings:?}") };
    assert_eq!(uj(modelled), [13_500_000, 2_990_000, 60_200_000]);
    assert_eq!(modelled.joules.method, Method::Modelled);
}

#[test]
fn one_package_that_may_not_be_read_is_not_left_out_silently() {
    let (readings, refused) =
        replay(&format!("{TWO_PACKAGES}sys/class/powercap/intel-rapl:1/energy_uj !denied\n@1\n"));
    assert_eq!((readings.len(), refused.len()), (1, 1));
}

#[test]
fn sleep_that_resets_a_counter_leaves_a_gap_that_is_filled_and_said() {
    let package = |uj: u64| format!("sys/class/powercap/intel-rapl:0/energy_uj {uj}\n");
    let recording = format!(
        "@0\nsys/class/powercap/intel-rapl:0/name package-0
sys/class/powercap/intel-rapl:0/max_energy_range_uj 262143328850
sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw 30000000
{}@10\n{}@12 +7200\n{}@20\n{}",
        package(200_000_000_000),
        package(200_100_000_000),
        package(3_000_000),
        package(83_000_000),
    );
    let (readings, _) = replay(&recording);
    // 100 J in 10 s and 80 J in 8; the 2 s in which the counter was reset are filled at 10 W.
    assert_eq!(uj(&readings[0]), [200 * JOULE, 171 * JOULE, 229 * JOULE]);
    assert_eq!(readings[0].joules.method, Method::Estimated);
    assert_eq!((readings[0].time, readings[0].missed), (Duration::from_secs(20), Duration::from_secs(2)));
    assert!(matches!(readings[0].gap, Some(Gap::Implausible { .. })), "{:?}", readings[0].gap);
}

#[test]
fn sleep_that_a_counter_survives_costs_what_it_counted() {
    let (readings, _) = replay(
        "@0\nsys/class/powercap/intel-rapl:0/name package-0
sys/class/powercap/intel-rapl:0/max_energy_range_uj 262143328850
sys/class/powercap/intel-rapl:0/energy_uj 1000000
@10 +3600\nsys/class/powercap/intel-rapl:0/energy_uj 61000000\n",
    );
    assert_eq!(uj(&readings[0]), [60 * JOULE, 57 * JOULE, 63 * JOULE]);
    assert_eq!(readings[0].joules.method, Method::Measured);
}

const BATTERY: &str = "@0
sys/class/power_supply/AC/type Mains
sys/class/power_supply/AC/online 0
sys/class/power_supply/BAT0/type Battery
sys/class/power_supply/BAT0/present 1
sys/class/power_supply/BAT0/status Discharging
sys/class/power_supply/hidpp_battery_0/type Battery
sys/class/power_supply/hidpp_battery_0/scope Device
sys/class/power_supply/hidpp_battery_0/status Discharging
sys/class/power_supply/hidpp_battery_0/power_now 99000000
";

#[test]
fn a_battery_tells_power_and_a_mouse_has_its_own() {
    let (readings, refused) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/power_now 10000000
@10\nsys/class/power_supply/BAT0/power_now 20000000\n"
    ));
    assert!(refused.is_empty(), "{refused:?}");
    // From 10 W to 20 W in 10 s: 150 J, 100 at least and 200 at most, and 10 % on either side.
    assert_eq!(uj(&readings[0]), [150 * JOULE, 90 * JOULE, 220 * JOULE]);
    assert_eq!((readings[0].source.as_str(), readings[0].joules.scope), ("battery: BAT0", Scope::Device));
}

#[test]
fn current_and_voltage_are_power_whatever_the_sign() {
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/current_now -500000
sys/class/power_supply/BAT0/voltage_now 4000000
@5\nsys/class/power_supply/BAT0/current_now 500000\n"
    ));
    assert_eq!(uj(&readings[0]), [10 * JOULE, 9 * JOULE, 11 * JOULE]);
}

#[test]
fn a_battery_that_tells_only_its_energy_tells_it_by_its_fall() {
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/energy_now 40000000
@60\nsys/class/power_supply/BAT0/energy_now 39990000
@120\nsys/class/power_supply/BAT0/energy_now 39970000\n"
    ));
    // 30 mWh, told in steps of 10.
    assert_eq!(uj(&readings[0]), [108 * JOULE, 61_200_000, 154_800_000]);
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/charge_now 3000000
sys/class/power_supply/BAT0/voltage_now 4000000
@60\nsys/class/power_supply/BAT0/charge_now 2995000\n"
    ));
    // 5 mAh at 4 V.
    assert_eq!(uj(&readings[0]), [72 * JOULE, 28_800_000, 115_200_000]);
    // Too short for the gauge: not nothing, but no more than a step.
    let (readings, _) = replay(&format!("{BATTERY}sys/class/power_supply/BAT0/energy_now 40000000\n@2\n"));
    assert_eq!(uj(&readings[0]), [0, 0, 36 * JOULE]);
}

#[test]
fn energy_that_rises_or_falls_in_sleep_is_nobodys() {
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/energy_now 40000000
@60\nsys/class/power_supply/BAT0/energy_now 40020000
@120\nsys/class/power_supply/BAT0/energy_now 40010000
@180 +36000\nsys/class/power_supply/BAT0/energy_now 38000000
@240\nsys/class/power_supply/BAT0/energy_now 37990000\n"
    ));
    // Two minutes of 36 J were counted, two more are filled in.
    assert_eq!(uj(&readings[0]), [144 * JOULE, 28_800_000, 259_200_000]);
    assert_eq!(readings[0].joules.method, Method::Estimated);
    assert_eq!(readings[0].gap, Some(Gap::Slept(Duration::from_secs(36_000))));
}

#[test]
fn a_gauge_that_says_nonsense_is_not_believed() {
    let nonsense = [
        ("power_now 10000000", "power_now 9223372036854775807"),
        ("energy_now 40000000", "energy_now 1"),
        ("energy_now 9223372036854775807", "energy_now 0"),
    ];
    for (before, now) in nonsense {
        let bat = "sys/class/power_supply/BAT0";
        let (readings, _) = replay(&format!("{BATTERY}{bat}/{before}\n@10\n{bat}/{now}\n"));
        assert!(readings.iter().all(|reading| reading.joules.method == Method::Modelled), "{readings:?}");
    }
}

#[test]
fn beside_a_charger_a_battery_says_nothing() {
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/power_now 12000000
@10\n
@20
sys/class/power_supply/AC/online 1
sys/class/power_supply/BAT0/status Charging
sys/class/power_supply/BAT0/power_now 45000000
@30\n
@40
sys/class/power_supply/AC/online 0
sys/class/power_supply/BAT0/status Discharging
sys/class/power_supply/BAT0/power_now 12000000
@50\n"
    ));
    // Plugged in somewhere in the second ten seconds, out in the fourth: 20 s of 12 W were seen, 30 filled.
    assert_eq!(uj(&readings[0]), [600 * JOULE, 216 * JOULE, 984 * JOULE]);
    assert_eq!(
        (readings[0].missed, readings[0].gap.clone()),
        (Duration::from_secs(30), Some(Gap::NotDischarging))
    );
    // Never off the charger: no reading but the model's.
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/status Charging
sys/class/power_supply/BAT0/power_now 45000000\n@10\n"
    ));
    assert_eq!(readings.len(), 1);
}

#[test]
fn one_battery_rests_while_the_other_is_used() {
    let (readings, _) = replay(&format!(
        "{BATTERY}sys/class/power_supply/BAT0/power_now 6000000
sys/class/power_supply/BAT1/type Battery
sys/class/power_supply/BAT1/status Not charging
sys/class/power_supply/BAT1/energy_now 20000000
sys/class/power_supply/BAT1/power_now 0
@10\n"
    ));
    // It tells no power while it rests, so that the pair is as good as its gauge.
    assert_eq!(uj(&readings[0]), [60 * JOULE, 18 * JOULE, 102 * JOULE]);
}

#[test]
fn known_chips_are_read_and_others_are_not() {
    let (readings, _) = replay(
        "@0
sys/class/hwmon/hwmon0/name amdgpu
sys/class/hwmon/hwmon0/power1_input 200000000
sys/class/hwmon/hwmon1/name amd_energy
sys/class/hwmon/hwmon1/energy1_label Ecore000
sys/class/hwmon/hwmon1/energy1_input 4
sys/class/hwmon/hwmon1/energy65_label Esocket0
sys/class/hwmon/hwmon1/energy65_input 5000000
sys/class/hwmon/hwmon2/name power_meter
sys/class/hwmon/hwmon2/power1_average 300000000
@1
sys/class/hwmon/hwmon1/energy1_input 9000000
sys/class/hwmon/hwmon1/energy65_input 85000000
sys/class/hwmon/hwmon2/power1_average 340000000
",
    );
    let [socket, machine, _] = &readings[..] else { panic!("{readings:?}") };
    assert_eq!((socket.source.as_str(), uj(socket)[0]), ("hwmon: amd_energy", 80 * JOULE));
    assert_eq!((machine.source.as_str(), uj(machine)[0]), ("hwmon: power_meter", 320 * JOULE));
    assert_eq!((socket.joules.scope, machine.joules.scope), (Scope::Package, Scope::Device));
}

#[test]
fn a_meter_that_goes_on_says_each_piece_and_pieces_make_the_whole() {
    let recording: String = (1..=50)
        .map(|i: u64| format!("@{}\nsys/class/powercap/intel-rapl:0/energy_uj {}\n", i, i * i * 31_337))
        .collect();
    let recording = format!(
        "@0\nsys/class/powercap/intel-rapl:0/name package-0\nsys/class/powercap/intel-rapl:0/energy_uj 0\n{recording}"
    );
    let frames = parse_recording(&recording).unwrap();
    let mut meter = Meter::open(&frames[0].tree, Vec::new(), MODEL, moment(&frames[0]));
    let whole = meter.mark(&frames[0].tree, moment(&frames[0]));
    let mut sum = 0;
    let mut begun = whole.clone();
    for frame in &frames[1..] {
        sum += meter.since(&begun, &frame.tree, moment(frame))[0].joules.value_uj;
        begun = meter.mark(&frame.tree, moment(frame));
    }
    let last = frames.last().unwrap();
    let all = meter.since(&whole, &last.tree, moment(last))[0].joules.value_uj;
    assert_eq!((sum, all), (50 * 50 * 31_337, 50 * 50 * 31_337));
}

/// What an embedder brings: a rail that its system counts.
struct Rail {
    counter: Counter,
    uj: u64,
}

impl EnergySource for Rail {
    fn name(&self) -> &str {
        "rail: S2S_VDD_CPU"
    }

    fn scope(&self) -> Scope {
        Scope::Device
    }

    fn error_permille(&self) -> u64 {
        0
    }

    fn advance(&mut self, _: &Tree, elapsed: Elapsed) -> Result<Span, Gap> {
        self.uj += 2 * JOULE;
        self.counter.step(self.uj, elapsed)
    }
}

#[test]
fn an_embedders_source_comes_first() {
    let frames = parse_recording(TWO_PACKAGES).unwrap();
    let rail = Rail { counter: Counter::new(None, 100 * JOULE), uj: 0 };
    let mut meter = Meter::open(&frames[0].tree, vec![Box::new(rail)], MODEL, Moment::default());
    let mark = meter.mark(&frames[0].tree, Moment::default());
    let now = Moment { awake: Duration::from_secs(1), slept: Duration::ZERO };
    let readings = meter.since(&mark, &frames[0].tree, now);
    assert_eq!((readings[0].source.as_str(), uj(&readings[0])), ("rail: S2S_VDD_CPU", [2 * JOULE; 3]));
    assert_eq!(meter.sources().count(), 2);
    // What they say is of different things.
    assert!(readings[0].joules.plus(readings[1].joules).is_err());
}

#[test]
fn this_machine_has_a_reading_whatever_it_is() {
    let tree = Tree::system();
    let mut meter = Meter::open(&tree, Vec::new(), MODEL, Moment::default());
    let mark = meter.mark(&tree, Moment::default());
    let now = Moment { awake: Duration::from_millis(10), slept: Duration::ZERO };
    let readings = meter.since(&mark, &tree, now);
    assert_eq!(readings.last().unwrap().joules.method, Method::Modelled);
    for reading in readings {
        let [value, low, high] = uj(&reading);
        assert!(low <= value && value <= high, "{reading:?}");
    }
}
