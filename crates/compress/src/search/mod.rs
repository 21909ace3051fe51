//! Search: the formats that are worth most under targets, found by measuring.
//!
//! Reading order: [`target`] is what a user asks for. [`table`] has what each tensor costs in each format, [`probe`] what its error
//! adds to the divergence; [`frontier`] chooses formats from both. It assumes that divergences add up, which is almost true, so
//! [`search()`] has mixes made and measured by its caller: some around the one that the table would choose, then, with gains
//! refitted to what was measured ([`refit`]), the one it chooses now, at most twice. What is handed over was measured.
//!
//! Speed is by that of the source: seconds of a token are those of its products and what is spent beside them. The table has
//! products as they are timed alone, which says how shapes compare; how long a format takes among others, in a token, is held to models
//! that are wholly of it, but for their ends, and to models whose ends are ([`Model::hold_format_to`]), and what is spent beside products to the mix that is chosen first
//! ([`Model::hold_to`]), since a source of floats takes several times as long and so would its errors.
//! [`plot`] draws it.
//!
//! Left out: layers dropped or tied, narrower feed-forward parts. They would be candidates of groups of tensors.

pub mod target;

pub mod probe;
pub mod table;

pub mod frontier;
pub mod refit;

pub mod plot;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::role::layer_of;
use frontier::{BYTES, Costs, KLD, Mix, SECONDS};
use table::{Candidate, Entry};
use target::Target;

/// Sizes of the mixes of the first round, by that of the first choice, which is among them.
const AROUND: [f64; 8] = [1.0, 0.97, 1.03, 0.93, 1.08, 0.88, 1.16, 0.82];
/// The least part of the time that a product takes alone in which it may be done among others.
const FACTOR_MIN: f64 = 0.05;
/// Rounds of choosing again after the first.
const ROUNDS: usize = 2;

/// Formats by name of tensor.
pub type Formats = BTreeMap<String, String>;

/// A model as the search sees it.
#[derive(Debug)]
pub struct Model {
    /// What may change.
    pub entries: Vec<Entry>,
    /// Bytes of the file that do not change.
    pub fixed_bytes: u64,
    /// Memory that is needed beside the file's bytes.
    pub beside_bytes: u64,
    /// Seconds of a token of the source, measured.
    pub source_seconds: f64,
    /// Seconds of a token that are not spent in the tensors of the table.
    pub fixed_seconds: f64,
}

impl Model {
    /// A model of whose speed nothing but the source's is known.
    pub fn new(entries: Vec<Entry>, fixed_bytes: u64, beside_bytes: u64, source_seconds: f64) -> Self {
        let mut model = Self { entries, fixed_bytes, beside_bytes, source_seconds, fixed_seconds: 0.0 };
        model.fit_seconds();
        model.fixed_seconds = source_seconds - model.source_products();
        model
    }

    /// The formats that are worth most under `target` by the table alone.
    ///
    /// # Errors
    /// When no mix can hold the limits on bytes and seconds.
    pub fn first(&self, target: &Target) -> Result<Formats> {
        let ((wanted, limits), costs) = (self.aim(target), self.costs());
        let mix = frontier::choose(&costs, wanted, limits).ok_or_else(|| impossible(self, &costs, target))?;
        Ok(self.formats(&mix))
    }

    /// Every format that tensors of `part` may get instead of their own, with the mix of `formats` in which as many of them as can
    /// have it.
    pub fn wholly_of_one(&self, part: Part, formats: &Formats) -> Vec<(&'static str, Formats)> {
        let of_part = || self.entries.iter().filter(|e| part.has(e));
        let others = |e: &Entry| e.candidates.split_last().map_or(Vec::new(), |(_, others)| others.to_vec());
        let mut names: Vec<&str> = of_part().flat_map(others).map(|c| c.format.name).collect();
        names.sort_unstable();
        names.dedup();
        let mix = |name: &'static str| {
            let can = of_part().filter(|e| e.candidates.iter().any(|c| c.format.name == name));
            let mut mix = formats.clone();
            mix.extend(can.map(|e| (e.name.clone(), name.to_owned())));
            (name, mix)
        };
        names.into_iter().map(mix).filter(|(_, mix)| mix != formats).collect()
    }

    /// Has products of `part` in `format` take as long as makes the mix of `formats`, where they are as [`Self::wholly_of_one`] has them, as
    /// fast as it was found: `speed` times the source.
    pub fn hold_format_to(&mut self, (part, format): (Part, &str), formats: &Formats, speed: f64) {
        let (mut own, mut others) = (0.0, 0.0);
        for (entry, candidate) in self.entries.iter().filter_map(|e| Some((e, chosen(e, formats)?))) {
            let is_own = part.has(entry) && candidate.format.name == format;
            *(if is_own { &mut own } else { &mut others }) += candidate.seconds;
        }
        let factor = (self.source_seconds / speed - self.fixed_seconds - others) / own;
        // Where a token takes no longer than what is beside these products, they still take some time.
        let factor = if factor.is_finite() { factor.max(FACTOR_MIN) } else { 1.0 };
        let of_part = self.entries.iter_mut().filter(|e| part.has(e));
        let candidates = of_part.filter_map(|e| e.candidates.split_last_mut()).flat_map(|(_, others)| others);
        candidates.filter(|c| c.format.name == format).for_each(|c| c.seconds *= factor);
    }

    /// Has what is spent beside products be what makes the mix of `formats` as fast as it was found: `speed` times the source.
    pub fn hold_to(&mut self, formats: &Formats, speed: f64) {
        let products: f64 = self.entries.iter().filter_map(|e| chosen(e, formats)).map(|c| c.seconds).sum();
        self.fixed_seconds = self.source_seconds / speed - products;
    }

    /// The costs of every candidate.
    fn costs(&self) -> Vec<Vec<Costs>> {
        let of = |entry: &Entry| {
            entry.candidates.iter().map(|c| [entry.gain * c.error, c.bytes as f64, c.seconds]).collect()
        };
        self.entries.iter().map(of).collect()
    }

    /// Seconds of a token of the source that are spent in the tensors of the table.
    fn source_products(&self) -> f64 {
        self.entries.iter().filter_map(|e| e.candidates.last()).map(|c| c.seconds).sum()
    }

    /// Where products that were timed alone take longer than the whole token they are parts of, as on a busy machine, they count
    /// only by each other.
    fn fit_seconds(&mut self) {
        let scale = self.source_seconds / self.source_products();
        if scale < 1.0 {
            let all = self.entries.iter_mut().flat_map(|e| &mut e.candidates);
            all.for_each(|c| c.seconds *= scale);
        }
    }

    /// Has what is spent beside products be what it was on the average of what was measured.
    fn refit_seconds(&mut self, trials: &[Trial]) {
        let beside = |trial: &Trial| {
            let products = |(e, &k): (&Entry, &usize)| e.candidates[k].seconds;
            self.source_seconds / trial.measured.speed
                - self.entries.iter().zip(&trial.mix).map(products).sum::<f64>()
        };
        let found: Vec<f64> = trials.iter().map(beside).filter(|v| v.is_finite()).collect();
        if !found.is_empty() {
            self.fixed_seconds = found.iter().sum::<f64>() / found.len() as f64;
        }
    }

    fn predicted(&self, costs: &[Vec<Costs>], mix: &[usize]) -> Figures {
        let [kld, bytes, seconds] = frontier::costs(costs, mix);
        let seconds = seconds + self.fixed_seconds;
        Figures { kld, bytes: bytes as u64 + self.fixed_bytes, speed: self.source_seconds / seconds }
    }

    /// Which cost is to be the least, and what the others may be.
    fn aim(&self, target: &Target) -> (usize, Costs) {
        let bytes = [target.size, target.ram.map(|ram| ram.saturating_sub(self.beside_bytes))];
        let bytes = bytes.into_iter().flatten().min();
        let mut limits = [f64::INFINITY; 3];
        if let Some(bytes) = bytes {
            limits[BYTES] = bytes as f64 - self.fixed_bytes as f64;
        }
        if let Some(toks) = target.toks {
            limits[SECONDS] = 1.0 / toks - self.fixed_seconds;
        }
        // Room that is granted is used; where none is named, the smallest is wanted.
        if let (None, Some(kld)) = (bytes, target.kld) {
            limits[KLD] = kld;
            return (BYTES, limits);
        }
        (KLD, limits)
    }

    fn formats(&self, mix: &[usize]) -> Formats {
        let pairs = self.entries.iter().zip(mix);
        pairs.map(|(e, &k)| (e.name.clone(), e.candidates[k].format.name.to_owned())).collect()
    }

    fn holds(&self, target: &Target, found: &Figures) -> bool {
        target.size.is_none_or(|size| found.bytes <= size)
            && target.ram.is_none_or(|ram| found.bytes.saturating_add(self.beside_bytes) <= ram)
            && target.kld.is_none_or(|kld| found.kld <= kld)
            && target.toks.is_none_or(|toks| found.speed / self.source_seconds >= toks)
    }
}

/// A part of a model, whose products take another time in a format: large matrices at the ends, small ones within layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What layers have.
    Layers,
    /// What stands before and behind them.
    Ends,
}

impl Part {
    fn has(self, entry: &Entry) -> bool {
        (self == Self::Layers) == layer_of(&entry.name).is_some()
    }
}

/// The candidate of `entry` that `formats` has.
fn chosen<'e>(entry: &'e Entry, formats: &Formats) -> Option<&'e Candidate> {
    let name = formats.get(&entry.name)?;
    entry.candidates.iter().find(|c| name == c.format.name)
}

/// What a mix is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Mean divergence from the source, in nats a token.
    pub kld: f64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Tokens a second by those of the source.
    pub speed: f64,
}

/// A mix that was made and measured.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// Which choice of which round: 0 is the first.
    pub round: usize,
    /// What was expected when it was chosen.
    pub predicted: Figures,
    /// What was found.
    pub measured: Figures,
    /// By what part the measured speed is off the predicted one.
    pub speed_off: f64,
    /// Whether it holds the targets.
    pub holds: bool,
    /// Its formats.
    pub formats: Formats,
    #[serde(skip)]
    mix: Mix,
}

/// What a search found.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// What was asked.
    pub target: Target,
    /// What was measured.
    pub trials: Vec<Trial>,
    /// Number of the chosen trial; `None` where none holds the targets.
    pub chosen: Option<usize>,
    /// The best mixes that are predicted, from few bytes to many, with the gains as they are in the end.
    pub frontier: Vec<Figures>,
    /// By how much the gain of each kind of tensor was corrected.
    pub corrections: BTreeMap<String, f64>,
}

/// Makes and measures the mix of some formats, of which so much is expected.
pub type Make<'m> = &'m mut dyn FnMut(&Formats, &Figures) -> Result<Figures>;

/// Finds the formats that are worth most under `target`.
///
/// # Errors
/// When no mix can hold the limits on bytes and seconds, and those of `make`.
pub fn search(mut model: Model, target: &Target, make: Make<'_>) -> Result<Found> {
    let (wanted, limits) = model.aim(target);
    let costs = model.costs();
    let first = frontier::choose(&costs, wanted, limits).ok_or_else(|| impossible(&model, &costs, target))?;
    let size = frontier::costs(&costs, &first)[BYTES];
    let mut trials: Vec<Trial> = Vec::new();
    for (i, part) in AROUND.into_iter().enumerate() {
        let limits = [f64::INFINITY, size * part, limits[SECONDS]];
        let mix = if i == 0 { Some(first.clone()) } else { frontier::choose(&costs, KLD, limits) };
        if let Some(mix) = mix {
            attempt(&model, &costs, mix, 0, target, &mut trials, make)?;
        }
    }
    let mut corrections = BTreeMap::new();
    for round in 1..=ROUNDS {
        let measured: Vec<(&Mix, f64)> = trials.iter().map(|t| (&t.mix, t.measured.kld)).collect();
        for (kind, factor) in refit::refit(&mut model.entries, &measured) {
            *corrections.entry(kind).or_insert(1.0) *= factor;
        }
        model.refit_seconds(&trials);
        let (_, limits) = model.aim(target);
        let costs = model.costs();
        let Some(mix) = frontier::choose(&costs, wanted, limits) else { break };
        if !attempt(&model, &costs, mix, round, target, &mut trials, make)? {
            break;
        }
    }
    let by = |trial: &Trial| if wanted == BYTES { trial.measured.bytes as f64 } else { trial.measured.kld };
    let chosen = (0..trials.len()).filter(|&i| trials[i].holds);
    let chosen = chosen.min_by(|&a, &b| by(&trials[a]).total_cmp(&by(&trials[b])));
    let costs = model.costs();
    let surface = frontier::surface(&costs);
    let frontier = surface.iter().map(|mix| model.predicted(&costs, mix)).collect();
    Ok(Found { target: *target, trials, chosen, frontier, corrections })
}

/// Has `mix` made and measured; `false` where it was before.
fn attempt(
    model: &Model,
    costs: &[Vec<Costs>],
    mix: Mix,
    round: usize,
    target: &Target,
    trials: &mut Vec<Trial>,
    make: Make<'_>,
) -> Result<bool> {
    if trials.iter().any(|trial| trial.mix == mix) {
        return Ok(false);
    }
    let (predicted, formats) = (model.predicted(costs, &mix), model.formats(&mix));
    let measured = make(&formats, &predicted)?;
    let holds = model.holds(target, &measured);
    let speed_off = measured.speed / predicted.speed - 1.0;
    trials.push(Trial { round, predicted, measured, speed_off, holds, formats, mix });
    Ok(true)
}

/// Says what the least is that can be had.
fn impossible(model: &Model, costs: &[Vec<Costs>], target: &Target) -> Error {
    let least = |j: usize| -> f64 {
        let of = |tensor: &Vec<Costs>| tensor.iter().map(|c| c[j]).fold(f64::INFINITY, f64::min);
        costs.iter().map(of).sum()
    };
    let bytes = least(BYTES) as u64 + model.fixed_bytes;
    let toks = 1.0 / (least(SECONDS) + model.fixed_seconds);
    let size = target.size.map(|_| format!("the smallest file has {bytes} bytes"));
    let ram =
        target.ram.map(|_| format!("the least memory is {} bytes", bytes.saturating_add(model.beside_bytes)));
    let toks = target.toks.map(|_| format!("the fastest makes {toks:.1} tokens a second"));
    let said: Vec<String> = [size, ram, toks].into_iter().flatten().collect();
    let said = if said.is_empty() { "no mix of formats comes near".into() } else { said.join(", ") };
    ingle_model::Error::Input(format!("no mix of formats holds the targets: {said}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::named;

    /// Four tensors of two kinds, as large as each other, whose error falls by 4 with each bit.
    fn model() -> Model {
        let entry = |i: usize| {
            let kind = if i.is_multiple_of(2) { "attn_q" } else { "ffn_up" };
            let formats = [("q3_K", 3u64), ("q4_K", 4), ("q5_K", 5), ("q6_K", 6), ("f16", 16)];
            let candidate = |(name, bits): (&str, u64)| Candidate {
                format: named(name),
                error: if name == "f16" { 0.0 } else { 0.25f64.powi(bits as i32) },
                bytes: 100 * bits,
                seconds: bits as f64,
            };
            Entry {
                at: i,
                name: format!("blk.{}.{kind}.weight", i / 2),
                group: kind.into(),
                candidates: formats.map(candidate).to_vec(),
                probed: 1.0,
                gain: 1.0,
            }
        };
        Model::new((0..4).map(entry).collect(), 50, 1000, 100.0)
    }

    /// What a model is worth whose `ffn_up` is 8 times as sensitive as the probes said.
    fn truth(formats: &Formats) -> Figures {
        let model = model();
        let mut sum = Figures { kld: 0.0, bytes: 50, speed: 0.0 };
        let mut seconds = model.fixed_seconds;
        for entry in &model.entries {
            let c = entry.candidates.iter().find(|c| c.format.name == formats[&entry.name]).unwrap();
            sum.kld += c.error * if entry.name.contains("ffn") { 8.0 } else { 1.0 };
            sum.bytes += c.bytes;
            seconds += c.seconds;
        }
        Figures { speed: model.source_seconds / seconds, ..sum }
    }

    #[test]
    fn what_was_measured_corrects_the_choice() {
        let mut made = 0;
        let mut make = |formats: &Formats, _: &Figures| {
            made += 1;
            Ok(truth(formats))
        };
        let target = Target { size: Some(1850), ..Target::default() };
        let found = search(model(), &target, &mut make).unwrap();
        let chosen = &found.trials[found.chosen.unwrap()];
        // Of 18 bits, more go to what is sensitive.
        assert_eq!(chosen.measured.bytes, 1850);
        for (name, format) in &chosen.formats {
            assert_eq!(format, if name.contains("ffn") { "q5_K" } else { "q4_K" });
        }
        assert!(made <= AROUND.len() + ROUNDS && found.trials.len() == made);
        assert!(found.corrections["ffn_up"] > 2.0 * found.corrections["attn_q"], "{:?}", found.corrections);
        assert!(found.frontier.is_sorted_by(|a, b| a.bytes <= b.bytes) && found.frontier.len() > 3);
    }

    #[test]
    fn the_smallest_is_chosen_where_only_quality_is_asked() {
        let target = Target { kld: Some(0.1), ..Target::default() };
        let found = search(model(), &target, &mut |formats, _| Ok(truth(formats))).unwrap();
        let chosen = &found.trials[found.chosen.unwrap()].measured;
        assert!(chosen.kld <= 0.1);
        let smaller = found.trials.iter().filter(|t| t.measured.bytes < chosen.bytes);
        assert!(smaller.clone().count() > 0 && smaller.clone().all(|t| t.measured.kld > 0.1));
    }

    #[test]
    fn memory_and_speed_are_limits_too() {
        let of = |target: Target| {
            let found = search(model(), &target, &mut |formats, _| Ok(truth(formats))).unwrap();
            found.trials[found.chosen.unwrap()].measured
        };
        assert!(of(Target { ram: Some(2850), ..Target::default() }).bytes <= 1850);
        // 36 seconds beside the tensors, so 20 in them.
        assert!(of(Target { toks: Some(1.0 / 56.0), ..Target::default() }).speed >= 100.0 / 56.0 - 1e-9);
    }

    #[test]
    fn products_never_take_longer_than_their_token() {
        let mut entries = model().entries;
        entries.iter_mut().flat_map(|e| &mut e.candidates).for_each(|c| c.seconds *= 10.0);
        let slow = Model::new(entries, 50, 1000, 100.0);
        assert!((slow.source_products() - 100.0).abs() < 1e-9 && slow.fixed_seconds.abs() < 1e-9);
        let usual = model();
        assert_eq!((usual.source_products(), usual.fixed_seconds), (64.0, 36.0));
    }

    /// How fast a mix is where 10.4 seconds are spent beside products, not the 36 that the source, whose products take longer in it
    /// than alone, makes believe.
    fn real_speed(formats: &Formats) -> f64 {
        let of = |e: &Entry| e.candidates.iter().find(|c| c.format.name == formats[&e.name]).unwrap().seconds;
        100.0 / (model().entries.iter().map(of).sum::<f64>() + 10.4)
    }

    #[test]
    fn what_is_spent_beside_products_is_found_where_mixes_are() {
        let mut model = model();
        let of_size =
            |model: &Model, size| model.first(&Target { size: Some(size), ..Target::default() }).unwrap();
        let first = of_size(&model, 1850);
        model.hold_to(&first, real_speed(&first));
        assert!((model.fixed_seconds - 10.4).abs() < 1e-9);
        let mut make = |formats: &Formats, predicted: &Figures| {
            assert!((predicted.speed / real_speed(formats) - 1.0).abs() < 1e-9, "{predicted:?}");
            Ok(Figures { speed: real_speed(formats), ..truth(formats) })
        };
        let target = Target { size: Some(1850), ..Target::default() };
        let found = search(model, &target, &mut make).unwrap();
        assert!(found.trials.iter().all(|t| t.speed_off.abs() < 1e-9));
    }

    #[test]
    fn formats_take_as_long_as_in_models_of_them() {
        // Among others a product of q3_K takes half as long as alone, one of q6_K three times, and at the end four times.
        let takes = |e: &Entry, c: &Candidate| match c.format.name {
            "q3_K" => 0.5,
            "q6_K" if Part::Ends.has(e) => 4.0,
            "q6_K" => 3.0,
            _ => 1.0,
        };
        let with_head = || {
            let mut model = model();
            let mut head = model.entries[0].clone();
            head.name = "output.weight".into();
            model.entries.push(head);
            // One that can't have it.
            model.entries[3].candidates.retain(|c| c.format.name != "q3_K");
            model
        };
        let alone = with_head();
        let speed = |formats: &Formats| {
            let of = |e: &Entry| chosen(e, formats).map_or(0.0, |c| c.seconds * takes(e, c));
            100.0 / (alone.entries.iter().map(of).sum::<f64>() + 36.0)
        };
        let formats = |names: [&str; 5]| -> Formats {
            alone.entries.iter().zip(names).map(|(e, name)| (e.name.clone(), name.to_owned())).collect()
        };
        let mut model = with_head();
        let first = formats(["q4_K", "q5_K", "q3_K", "q4_K", "q5_K"]);
        for part in [Part::Layers, Part::Ends] {
            let wholes = model.wholly_of_one(part, &first);
            let names: Vec<_> = wholes.iter().map(|(name, _)| *name).collect();
            let all = ["q3_K", "q4_K", "q5_K", "q6_K"];
            assert!(names == all || (part == Part::Ends && names == ["q3_K", "q4_K", "q6_K"]), "{names:?}");
            assert_eq!(wholes[0].1["blk.1.ffn_up.weight"], "q4_K");
            assert_eq!(wholes[0].1["output.weight"], if part == Part::Ends { "q3_K" } else { "q5_K" });
            for (name, formats) in &wholes {
                model.hold_format_to((part, name), formats, speed(formats));
            }
            model.hold_to(&first, speed(&first));
        }
        for names in [["q3_K", "q6_K", "q6_K", "q4_K", "q6_K"], ["q6_K", "q3_K", "f16", "q5_K", "q3_K"]] {
            let formats = formats(names);
            let place =
                |e: &Entry| e.candidates.iter().position(|c| c.format.name == formats[&e.name]).unwrap();
            let mix: Vec<usize> = model.entries.iter().map(place).collect();
            let predicted = model.predicted(&model.costs(), &mix).speed;
            assert!((predicted / speed(&formats) - 1.0).abs() < 1e-9, "{names:?}");
        }
    }

    #[test]
    fn later_rounds_know_how_fast_mixes_were() {
        let mut make =
            |formats: &Formats, _: &Figures| Ok(Figures { speed: real_speed(formats), ..truth(formats) });
        let found = search(model(), &Target { size: Some(1850), ..Target::default() }, &mut make).unwrap();
        let (first, later): (Vec<&Trial>, Vec<&Trial>) = found.trials.iter().partition(|t| t.round == 0);
        assert!(first.iter().all(|t| t.speed_off > 0.4) && !later.is_empty());
        assert!(later.iter().all(|t| t.speed_off.abs() < 1e-9));
    }

    #[test]
    fn what_can_not_be_is_said_with_what_can() {
        let target = Target { size: Some(1000), ..Target::default() };
        let error = search(model(), &target, &mut |formats, _| Ok(truth(formats))).unwrap_err().to_string();
        assert!(error.contains("the smallest file has 1250 bytes"), "{error}");
        // Nothing that was made holds: that is told, not hidden.
        let target = Target { size: Some(1300), kld: Some(1e-6), ..Target::default() };
        let found = search(model(), &target, &mut |formats, _| Ok(truth(formats))).unwrap();
        assert!(found.chosen.is_none() && !found.trials.is_empty());
    }
}
