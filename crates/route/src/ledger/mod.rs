//! What every request took: energy, money, CO2 equivalents and bytes, a row each, and the balance of them all.
//!
//! [`Row`] is one request, [`LedgerFile`] keeps rows, [`Book`] has the user's tariff, grid and prices and the estimate for
//! answers given elsewhere, [`Tally`] adds rows up to a [`Report`], which [`words`] and [`page`] show. Amounts are whole
//! numbers between bounds ([`amount`]). Nothing in here says what a request said; who measures energy and reads the clock is
//! the caller.
//!
//! Left out: attribution of what others on the machine did meanwhile, embodied energy, water, and the network between (a few
//! thousandths of the rest for texts).

pub mod amount;
mod book;
mod file;
mod page;
mod report;
mod row;
mod time;
mod words;

pub use amount::{Carbon, Energy, EnergyKey, Interval, Method, Money, Scope, Total, Verdict};
pub use book::{Book, Bounds, Cloud, Grid, Price, Tariff};
pub use file::{Faults, LedgerError, LedgerFile};
pub use page::page;
pub use report::{Comparison, Day, EnergySum, PlaceSum, Report, Sum, Tally};
pub use row::{Instead, LINE_BYTES_MAX, Place, Row};
pub use time::{DAY_MS, Zone, date_of, day_began, parse_since, utc, wall_ms};
pub use words::{joules, money, words};
