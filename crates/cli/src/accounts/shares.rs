//! Whose a joule was, among requests that were worked for at the same time: what was measured in a piece of time is shared out by
//! the engine's time that went into each, and no microjoule is lost or counted twice.
//!
//! The shares of every piece of time add up to it, so what requests took adds up to what was measured while there were any. A request
//! may live through pieces that different sources measured, of different things, which can't be added: then it has
//! the model's figure, which is there for every piece.

use std::time::Duration;

use ingle_engine::meter::{Joules, Reading};

/// What was measured in a piece of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The best source's name.
    pub source: String,
    /// What it says.
    pub best: Joules,
    /// What the model says.
    pub modelled: Joules,
    /// CPU time of the process.
    pub cpu: Option<Duration>,
}

/// What went into a request so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    best: Option<Joules>,
    modelled: Option<Joules>,
    /// Whether best sources measured different things.
    is_mixed: bool,
    /// CPU time, where the system tells.
    pub cpu: Option<Duration>,
}

impl Piece {
    /// From readings, the best first and the model's last.
    pub fn of(readings: &[Reading], cpu: Option<Duration>) -> Option<Self> {
        let (first, last) = (readings.first()?, readings.last()?);
        Some(Self { source: first.source.clone(), best: first.joules, modelled: last.joules, cpu })
    }

    /// Shares it out by `weights`; where none has any, the first has all.
    pub fn share(&self, weights: &[u64], taken: &mut [&mut Taken]) {
        // Who was not worked for has no part in what is known of the others.
        let of_all = weights.iter().all(|&weight| weight == 0);
        let weighing = |weight: &u64| of_all || *weight > 0;
        let some: Vec<u64> = weights.iter().copied().filter(|weight| weighing(weight)).collect();
        let whole: u128 = some.iter().map(|&weight| u128::from(weight)).sum();
        let nanoseconds = self.cpu.map(|cpu| cpu.as_nanos());
        let (mut before, mut given) = (0, 0);
        let who = weights.iter().zip(taken).filter(|(weight, _)| weighing(weight));
        let parts = self.best.split(&some).into_iter().zip(self.modelled.split(&some));
        for ((weight, taken), (best, modelled)) in who.zip(parts) {
            before += u128::from(*weight);
            let cpu = nanoseconds.map(|all| {
                let upto = (all * before).checked_div(whole).unwrap_or(all);
                let part = upto - given;
                given = upto;
                Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
            });
            taken.add(best, modelled, cpu);
        }
    }
}

impl Taken {
    fn add(&mut self, best: Joules, modelled: Joules, cpu: Option<Duration>) {
        match self.best.map_or(Ok(best), |before| before.plus(best)) {
            Ok(sum) => self.best = Some(sum),
            Err(_) => self.is_mixed = true,
        }
        let sum = self.modelled.map_or(Ok(modelled), |before| before.plus(modelled));
        self.modelled = sum.ok().or(self.modelled);
        self.cpu = match (self.cpu, cpu) {
            (Some(before), Some(more)) => Some(before + more),
            (before, more) => before.or(more),
        };
    }

    /// Its energy, if it had any part in what was measured.
    pub fn joules(&self) -> Option<Joules> {
        if self.is_mixed { self.modelled } else { self.best }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_engine::meter::{Method, Scope};

    fn piece(uj: u64, scope: Scope) -> Piece {
        let best = Joules::within(uj, 50, Method::Measured, scope);
        let modelled = Joules::within(uj / 2, 900, Method::Modelled, Scope::Package);
        let modelled = Joules { idle_subtracted: true, ..modelled };
        Piece { source: "test".into(), best, modelled, cpu: Some(Duration::from_nanos(uj)) }
    }

    #[test]
    fn what_requests_took_adds_up_to_what_was_measured() {
        let mut taken = vec![Taken::default(); 3];
        let mut total = 0;
        // They come and go: whoever is away has no weight.
        let times = [[5, 0, 0], [1, 1, 1], [0, 7, 3], [0, 0, 0], [u64::MAX / 2, 3, u64::MAX / 2]];
        for (i, weights) in times.iter().enumerate() {
            let piece = piece(1_000_003 + i as u64, Scope::Package);
            total += piece.best.value_uj;
            piece.share(weights, &mut taken.iter_mut().collect::<Vec<_>>());
        }
        let sum = |of: fn(&Taken) -> u64| taken.iter().map(of).sum::<u64>();
        assert_eq!(sum(|taken| taken.joules().unwrap().value_uj), total);
        assert_eq!(sum(|taken| taken.cpu.unwrap().as_nanos() as u64), total);
    }

    #[test]
    fn who_was_alone_has_what_was_measured_and_others_a_model_of_their_part() {
        let mut taken = vec![Taken::default(); 2];
        piece(100, Scope::Package).share(&[9, 0], &mut taken.iter_mut().collect::<Vec<_>>());
        assert_eq!(taken[0].joules().unwrap().method, Method::Measured);
        assert_eq!(taken[1].joules(), None);
        piece(100, Scope::Package).share(&[1, 1], &mut taken.iter_mut().collect::<Vec<_>>());
        assert!(taken.iter().all(|taken| taken.joules().unwrap().method == Method::Modelled));
    }

    #[test]
    fn energies_of_different_things_are_not_added() {
        let mut taken = [Taken::default()];
        piece(100, Scope::Device).share(&[1], &mut taken.iter_mut().collect::<Vec<_>>());
        piece(100, Scope::Package).share(&[1], &mut taken.iter_mut().collect::<Vec<_>>());
        let joules = taken[0].joules().unwrap();
        assert_eq!((joules.value_uj, joules.scope, joules.method), (100, Scope::Package, Method::Modelled));
    }
}
