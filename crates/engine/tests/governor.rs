//! The governor over traces and in closed loops: it protects at once, eases slowly, keeps limits and does not flap.

use std::time::Duration;

use ingle_engine::governor::{
    Background, Battery, ChargeLevel, Heat, HeatLevel, Load, ModelHint, Plan, PowerLimit, Senses, Situation,
    choose, plan,
};
use ingle_engine::spec::DRAFTS_MAX;
use ingle_engine::sysfs::parse_recording;

const WATT: u64 = 1_000_000;

fn situation(senses: Senses, now: Duration, before: Option<Plan>) -> Situation {
    Situation {
        now,
        threads_max: 8,
        batch_max: 8,
        senses,
        power_limit: None,
        power_uw: None,
        is_working: false,
        before,
    }
}

/// The plans over a trace, with what was seen.
fn follow(trace: &str) -> Vec<(Duration, Senses, Plan)> {
    let mut before = None;
    let frames = parse_recording(trace).unwrap();
    frames
        .iter()
        .map(|frame| {
            let senses = Senses::read(&frame.tree);
            let next = plan(&situation(senses, frame.awake, before));
            before = Some(next);
            (frame.awake, senses, next)
        })
        .collect()
}

/// How often neighbours differ.
fn changes<T: PartialEq>(values: impl Iterator<Item = T>) -> usize {
    let values: Vec<T> = values.collect();
    values.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_phone_that_heats_up_gets_less_to_do_and_more_again_when_it_has_cooled() {
    let plans = follow(include_str!("traces/phone_under_load.txt"));
    let at = |seconds: u64| plans.iter().find(|(at, ..)| at.as_secs() == seconds).unwrap().2;
    assert_eq!((at(0).threads, at(0).heat.level), (8, HeatLevel::Cool));
    let hottest = plans.iter().map(|(.., plan)| plan.heat.level).max().unwrap();
    assert_eq!(hottest, HeatLevel::Critical, "the trace goes beyond the trip point");
    let end = plans.last().unwrap().2;
    assert_eq!((end.threads, end.heat.level), (8, HeatLevel::Cool));
    // Less while it gets hotter, more while it cools, and nothing to and fro.
    assert_eq!(changes(plans.iter().map(|(.., plan)| plan.threads)), 6, "three steps down and three up");
    // The same levels without memory flap on this trace.
    let forgetful = plans.iter().map(|(at, senses, _)| plan(&situation(*senses, *at, None)).threads);
    let n = changes(forgetful);
    assert!(n > 8, "{n}");
    // Where the skin is at its limit, a single thread or two work half the time and nothing is guessed.
    for (_, senses, plan) in &plans {
        let heat = senses.heat.unwrap();
        if heat.milli_c > heat.throttle_milli_c + 1000 {
            assert!(plan.threads <= 2 && plan.duty_permille <= 500 && plan.drafts_max == 0, "{plan:?}");
            assert_eq!((plan.batch_max, plan.model), (1, ModelHint::Smaller));
        }
        assert!(plan.background != Background::Go, "a phone in use off its charger");
    }
}

#[test]
fn a_laptop_unplugged_at_15_percent_saves_until_it_is_plugged_in() {
    let plans = follow(include_str!("traces/laptop_unplugged.txt"));
    let (first, rest) = plans.split_first().unwrap();
    assert_eq!((first.2.charge, first.2.threads, first.2.background), (ChargeLevel::Good, 8, Background::Go));
    let unplugged = rest.iter().find(|(_, senses, _)| senses.has_mains == Some(false)).unwrap().2;
    assert_eq!((unplugged.charge, unplugged.threads, unplugged.drafts_max), (ChargeLevel::Low, 4, 2));
    assert_eq!(unplugged.model, ModelHint::Smaller);
    assert_eq!(unplugged.background, Background::Wait("the device is not charging"));
    assert!(plans.iter().any(|(.., plan)| plan.charge == ChargeLevel::Empty && plan.threads == 2));
    // Good, low, empty, good: though the gauge wavers by a percent up and down.
    assert_eq!(changes(plans.iter().map(|(.., plan)| plan.charge)), 3);
    assert_eq!(changes(plans.iter().map(|(.., plan)| plan.background)), 2);
    let end = plans.last().unwrap().2;
    assert_eq!((end.threads, end.drafts_max, end.background), (8, DRAFTS_MAX, Background::Go));
    assert!(end.reasons().is_empty() && unplugged.reasons() == ["battery low"]);
}

#[test]
fn a_smaller_model_answers_while_a_trace_is_hot_or_low_and_none_else() {
    // The second is what was asked for but for its place: nothing is larger than what was asked for.
    let sizes = [4_000, 9_000, 600, 2_000, 2_000, 4_000];
    let chosen = |trace: &str| -> Vec<(Plan, usize)> {
        follow(trace).into_iter().map(|(.., plan)| (plan, choose(&plan, &sizes))).collect()
    };
    let phone = chosen(include_str!("traces/phone_under_load.txt"));
    let laptop = chosen(include_str!("traces/laptop_unplugged.txt"));
    for (plan, at) in phone.iter().chain(&laptop) {
        let is_urgent = plan.heat.level == HeatLevel::Critical || plan.charge == ChargeLevel::Empty;
        let expected = match plan.model {
            ModelHint::AsAsked => 0,
            ModelHint::Smaller if is_urgent => 2,
            ModelHint::Smaller => 3,
        };
        assert_eq!(*at, expected, "{plan:?}");
    }
    let runs = |plans: &[(Plan, usize)]| {
        let mut runs: Vec<usize> = plans.iter().map(|(_, at)| *at).collect();
        runs.dedup();
        runs
    };
    // A model is changed for each level and not to and fro.
    assert_eq!(runs(&phone), [0, 3, 2, 3, 0]);
    assert_eq!(runs(&laptop), [0, 3, 2, 0]);
    let hottest = phone.iter().find(|(_, at)| *at == 2).unwrap().0;
    for (sizes, expected) in [(&[][..], 0), (&[5], 0), (&[5, 5], 0), (&[5, 6, 7], 0), (&[5, 4, 3], 2)] {
        assert_eq!(choose(&hottest, sizes), expected, "{sizes:?}");
    }
}

/// An hour of a device whose temperature follows what it takes, planned every second. The plans, and the hottest it got.
fn an_hour(full_rise_c: f64, seconds: f64, throttle_c: f64) -> (Vec<Plan>, f64) {
    let (mut celsius, mut hottest) = (30.0, 0f64);
    let mut before = None;
    let plans = (0..3600).map(|second| {
        let heat = Heat {
            milli_c: (celsius * 1000.0) as i64,
            throttle_milli_c: (throttle_c * 1000.0) as i64,
            critical_milli_c: None,
        };
        let senses = Senses { heat: Some(heat), ..Senses::default() };
        let next = plan(&situation(senses, Duration::from_secs(second), before));
        let share = f64::from(next.share_permille(8)) / 1000.0;
        celsius += (25.0 + full_rise_c * share - celsius) / seconds;
        hottest = hottest.max(celsius);
        before = Some(next);
        next
    });
    (plans.collect(), hottest)
}

#[test]
fn a_device_that_can_not_cool_all_threads_settles() {
    // Skins and processors that would go far beyond their limits, slow and fast ones.
    for (rise, seconds, throttle) in [(28.0, 170.0, 45.0), (60.0, 60.0, 70.0), (110.0, 8.0, 95.0)] {
        let (plans, hottest) = an_hour(rise, seconds, throttle);
        assert!(hottest < throttle + 0.05 * (throttle - 25.0), "{hottest} of {throttle}");
        let all = changes(plans.iter().map(|plan| plan.threads));
        let late = changes(plans[1800..].iter().map(|plan| plan.threads));
        assert!(all <= 40 && late <= 12, "{all} changes in an hour, {late} in its second half");
        assert!(late > 0, "a loop that never tries more would be no test");
    }
}

/// A machine that takes `idle` watts and `each` more for every thread that works, under a limit, for some seconds: the powers.
fn under_limit(limit: PowerLimit, idle: f64, each: f64, seconds: usize) -> (Vec<f64>, Vec<Plan>) {
    let mut before: Option<Plan> = None;
    let mut powers: Vec<f64> = Vec::new();
    let mut plans = Vec::new();
    for second in 0..seconds {
        let mut at = situation(Senses::default(), Duration::from_secs(second as u64), before);
        at.power_limit = Some(limit);
        // Measured power wavers by some percent.
        let wavering = 1.0 + 0.03 * ((second * 7 % 5) as f64 / 2.0 - 1.0);
        at.power_uw = powers.last().map(|watts| (watts * wavering * 1e6) as u64);
        let next = plan(&at);
        powers.push(idle + each * 8.0 * f64::from(next.share_permille(8)) / 1000.0);
        plans.push(next);
        before = Some(next);
    }
    (powers, plans)
}

#[test]
fn a_limit_in_watts_is_held_by_what_is_measured() {
    for (idle, each) in [(0.5, 0.6), (2.0, 3.0), (5.0, 5.0), (8.0, 12.0), (0.0, 20.0)] {
        let (powers, plans) = under_limit(PowerLimit::Microwatts(15 * WATT), idle, each, 120);
        let settled = &powers[10..];
        assert!(settled.iter().all(|&watts| watts <= 15.0 * 1.03), "{idle} {each}: {settled:?}");
        let full = idle + 8.0 * each;
        let last = *powers.last().unwrap();
        // What the machine takes beyond its idle power may be cut into duties of a thousandth.
        assert!(last >= 15f64.min(full) * 0.75, "{idle} {each}: {last} W of {full}");
        let n = changes(plans[60..].iter().map(|plan| (plan.threads, plan.duty_permille)));
        assert!(n <= 2, "{idle} {each}: {n} changes in the second minute");
    }
}

#[test]
fn a_limit_below_idle_power_is_said_to_be_out_of_reach() {
    let (_, plans) = under_limit(PowerLimit::Microwatts(3 * WATT), 5.0, 4.0, 30);
    let end = plans.last().unwrap();
    assert_eq!(end.threads, 1);
    assert!(end.duty_permille <= 110, "{end:?}");
    assert_eq!(end.reasons(), ["power limit, which can't be reached"]);
}

#[test]
fn a_limit_in_percent_is_that_much_of_all_threads_time() {
    for (permille, threads, duty) in [(500, 4, 1000), (1000, 8, 1000), (300, 3, 800), (50, 1, 400)] {
        let (_, plans) = under_limit(PowerLimit::Permille(permille), 1.0, 1.0, 3);
        let end = plans.last().unwrap();
        assert_eq!((end.threads, end.duty_permille), (threads, duty));
        assert!(end.share_permille(8) <= permille.into());
        let busy = Duration::from_secs(4);
        assert_eq!(end.rest_after(busy), busy * (1000 - u32::from(duty)) / u32::from(duty));
    }
}

#[test]
fn a_share_does_not_grow_while_heat_holds_the_threads() {
    let hot = Heat { milli_c: 84_000, throttle_milli_c: 85_000, critical_milli_c: None };
    let mut before: Option<Plan> = None;
    for second in 0..60 {
        let senses = Senses { heat: (second >= 5).then_some(hot), ..Senses::default() };
        let mut at = situation(senses, Duration::from_secs(second), before);
        at.power_limit = Some(PowerLimit::Microwatts(27 * WATT));
        at.power_uw = before.map(|plan| u64::from(plan.share_permille(8)) * 8 * 4500);
        before = Some(plan(&at));
    }
    let end = before.unwrap();
    assert_eq!((end.threads, end.share.unwrap().permille), (4, 750));
}

#[test]
fn others_who_need_the_processor_get_half_of_it() {
    let load = |running_milli, waits| Senses {
        load: Some(Load {
            running_milli,
            cpu_pressure_permille: Some(waits),
            memory_pressure_permille: Some(0),
        }),
        ..Senses::default()
    };
    let now = Duration::from_secs;
    let free = plan(&situation(load(7500, 30), now(0), None));
    assert_eq!(free.threads, 8, "the load of a minute ago, and nobody waits");
    let crowded = plan(&situation(load(7500, 400), now(1), Some(free)));
    assert_eq!((crowded.threads, crowded.background), (4, Background::Wait("the device is in use")));
    let mut own = situation(load(7500, 400), now(1), Some(free));
    own.is_working = true;
    assert_eq!(plan(&own).threads, 8, "the load is our own");
    let soon = plan(&situation(load(100, 0), now(10), Some(crowded)));
    assert_eq!(soon.threads, 4);
    assert_eq!(plan(&situation(load(100, 0), now(40), Some(soon))).threads, 8);
}

#[test]
fn memory_that_is_short_halves_the_batch() {
    let waits = |permille| Senses {
        load: Some(Load {
            running_milli: 0,
            cpu_pressure_permille: None,
            memory_pressure_permille: Some(permille),
        }),
        ..Senses::default()
    };
    let short = plan(&situation(waits(101), Duration::ZERO, None));
    assert_eq!((short.batch_max, short.threads), (4, 8));
    assert_eq!(plan(&situation(waits(99), Duration::ZERO, None)).batch_max, 8);
}

#[test]
fn every_plan_is_within_its_bounds_whatever_is_shown() {
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let mut before = None;
    for step in 0..20_000 {
        let heat = Heat {
            milli_c: next(150_000) as i64 - 20_000,
            throttle_milli_c: 35_000 + next(80_000) as i64,
            critical_milli_c: (next(2) == 0).then(|| 60_000 + next(60_000) as i64),
        };
        let senses = Senses {
            heat: (next(3) > 0).then_some(heat),
            battery: (next(2) == 0)
                .then(|| Battery { percent: next(101) as u8, is_discharging: next(2) == 0 }),
            has_mains: [None, Some(true), Some(false)][next(3) as usize],
            saves_power: next(4) == 0,
            load: (next(2) == 0).then(|| Load {
                running_milli: next(20_000) as u32,
                cpu_pressure_permille: Some(next(1001) as u32),
                memory_pressure_permille: Some(next(1001) as u32),
            }),
        };
        let percent = 1 + next(1000) as u16;
        let limit = match next(3) {
            0 => None,
            1 => Some(PowerLimit::Permille(percent)),
            _ => Some(PowerLimit::Microwatts(1 + next(200 * WATT))),
        };
        let at = Situation {
            now: Duration::from_secs(step),
            threads_max: next(65) as usize,
            batch_max: next(33) as usize,
            senses,
            power_limit: limit,
            power_uw: (next(2) == 0).then(|| next(500 * WATT)),
            is_working: next(2) == 0,
            before: before.filter(|_| next(50) > 0),
        };
        let made = plan(&at);
        assert!((1..=at.threads_max.max(1)).contains(&made.threads), "{at:?}\n{made:?}");
        assert!((1..=1000).contains(&made.duty_permille) && made.drafts_max <= DRAFTS_MAX);
        assert!((1..=at.batch_max.max(1)).contains(&made.batch_max));
        if let Some(PowerLimit::Permille(permille)) = limit {
            let least = 100 / at.threads_max.max(1) as u32 + 1;
            assert!(
                made.share_permille(at.threads_max) <= u32::from(permille).max(least),
                "{at:?}\n{made:?}"
            );
        }
        if senses.battery.is_some_and(|battery| battery.is_discharging) || senses.saves_power {
            assert_ne!(made.background, Background::Go);
        }
        assert_eq!(plan(&at), made, "a plan is a function of what it is told");
        before = Some(made);
    }
}

#[test]
fn what_linux_shows_is_read() {
    let frames = parse_recording(
        "@0
sys/class/thermal/cooling_device0/type Processor
sys/class/thermal/thermal_zone0/type acpitz
sys/class/thermal/thermal_zone0/temp 20000
sys/class/thermal/thermal_zone0/trip_point_0_type passive
sys/class/thermal/thermal_zone0/trip_point_0_temp 0
sys/class/thermal/thermal_zone1/type x86_pkg_temp
sys/class/thermal/thermal_zone1/temp 61000
sys/class/thermal/thermal_zone2/type iwlwifi_1
sys/class/thermal/thermal_zone2/temp 84000
sys/class/thermal/thermal_zone3/type INT3400
sys/class/thermal/thermal_zone3/temp -274000
sys/class/power_supply/BAT0/type Battery
sys/class/power_supply/BAT0/capacity 43
sys/class/power_supply/BAT0/status Not charging
sys/class/power_supply/ucsi-source-psy-1/type USB
sys/class/power_supply/ucsi-source-psy-1/online 1
sys/devices/system/cpu/cpufreq/policy0/scaling_driver intel_pstate
sys/devices/system/cpu/cpufreq/policy0/scaling_governor powersave
sys/devices/system/cpu/cpufreq/policy0/energy_performance_preference balance_performance
proc/loadavg 2.01 1.49 1.67 4/108 16644
proc/pressure/cpu some avg10=71.87 avg60=41.55 avg300=17.33 total=19621641442\\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0
@1
sys/devices/system/cpu/cpufreq/policy0/energy_performance_preference power
@2
sys/firmware/acpi/platform_profile performance
@3
sys/firmware/acpi/platform_profile low-power
",
    )
    .unwrap();
    let senses = Senses::read(&frames[0].tree);
    let heat = Heat { milli_c: 61_000, throttle_milli_c: 85_000, critical_milli_c: None };
    assert_eq!(
        senses.heat,
        Some(heat),
        "nothing of a radio, of a sensor that is off, or of a trip that is not set"
    );
    assert_eq!(senses.battery, Some(Battery { percent: 43, is_discharging: false }));
    assert_eq!(senses.has_mains, Some(true));
    let load = Load { running_milli: 2010, cpu_pressure_permille: Some(718), memory_pressure_permille: None };
    assert_eq!(senses.load, Some(load));
    let saves: Vec<bool> = frames.iter().map(|frame| Senses::read(&frame.tree).saves_power).collect();
    assert_eq!(saves, [false, true, false, true]);
}
