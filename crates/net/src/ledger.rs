//! What left and what came: bytes on the wire by purpose and destination, the TLS and HTTP around the content included.
//!
//! One row per pair, so its size is bounded by the hosts one command speaks to. Refused attempts are kept too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::Purpose;
use crate::url::Origin;

/// One purpose and one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// On whose behalf.
    pub purpose: Purpose,
    /// To whom.
    pub to: Origin,
    /// Requests that the policy let through.
    pub n_requests: u64,
    /// Requests that it refused.
    pub n_refused: u64,
    /// Bytes sent, as the socket took them.
    pub bytes_out: u64,
    /// Bytes received, as the socket gave them.
    pub bytes_in: u64,
}

/// Everything one client and its forks did. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    rows: Arc<Mutex<Vec<Row>>>,
    /// The row of the request in progress; a client has one at a time, and each fork its own.
    current: Arc<Mutex<Option<usize>>>,
}

impl Ledger {
    /// A copy of all rows, in the order they began.
    pub fn rows(&self) -> Vec<Row> {
        lock(&self.rows).clone()
    }

    /// The same rows for a client that has requests of its own in progress.
    pub(crate) fn fork(&self) -> Self {
        Self { rows: self.rows.clone(), current: Arc::default() }
    }

    /// A request begins or is refused; bytes count for it until the next one begins.
    pub(crate) fn begin(&self, purpose: Purpose, to: &Origin, allowed: bool) {
        let mut rows = lock(&self.rows);
        let known = rows.iter().position(|r| r.purpose == purpose && r.to == *to);
        let row = known.unwrap_or_else(|| {
            let to = to.clone();
            rows.push(Row { purpose, to, n_requests: 0, n_refused: 0, bytes_out: 0, bytes_in: 0 });
            rows.len() - 1
        });
        rows[row].n_requests += u64::from(allowed);
        rows[row].n_refused += u64::from(!allowed);
        drop(rows);
        *lock(&self.current) = Some(row);
    }

    pub(crate) fn count(&self, bytes_out: usize, bytes_in: usize) {
        let Some(row) = *lock(&self.current) else { return };
        let mut rows = lock(&self.rows);
        rows[row].bytes_out += bytes_out as u64;
        rows[row].bytes_in += bytes_in as u64;
    }
}

/// Counters stay counters whatever happened to the thread that held them.
fn lock<T>(counters: &Mutex<T>) -> MutexGuard<'_, T> {
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Url;

    #[test]
    fn bytes_are_kept_by_purpose_and_destination() {
        let ledger = Ledger::default();
        let a = Url::parse("https://a").unwrap().origin;
        let b = Url::parse("https://b").unwrap().origin;
        ledger.count(9, 9); // nothing has begun
        ledger.begin(Purpose::ModelListing, &a, true);
        ledger.count(1, 10);
        ledger.begin(Purpose::ModelFile, &b, true);
        ledger.count(2, 20);
        ledger.begin(Purpose::ModelListing, &a, false);
        let rows = ledger.rows();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].n_requests, rows[0].n_refused, rows[0].bytes_out, rows[0].bytes_in),
            (1, 1, 1, 10)
        );
        assert_eq!((rows[1].bytes_out, rows[1].bytes_in), (2, 20));
    }

    #[test]
    fn forks_count_side_by_side_into_the_same_rows() {
        let ledger = Ledger::default();
        let fork = ledger.fork();
        let (a, b) = (Url::parse("https://a").unwrap().origin, Url::parse("https://b").unwrap().origin);
        ledger.begin(Purpose::ModelFile, &a, true);
        fork.begin(Purpose::ModelFile, &b, true);
        ledger.count(1, 10);
        fork.count(2, 20);
        ledger.count(0, 5);
        let bytes: Vec<_> = fork.rows().iter().map(|r| (r.bytes_out, r.bytes_in)).collect();
        assert_eq!(bytes, [(1, 15), (2, 20)]);
    }
}
