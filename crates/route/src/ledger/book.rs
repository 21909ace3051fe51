//! What is known of prices, grids and clouds: a TOML file that the user may write, each figure with its source and its day.
//!
//! Tariffs and grids differ by place and hour, so none is assumed: without one there is no money and no CO2 in a row. Of the
//! energy of a cloud's answer something is assumed, [`Cloud::default`], because without it nothing could be held against what
//! was used here; it is wide, it says ESTIMATED, and the file may replace it:
//! ```toml
//! [electricity]
//! per_kwh = 0.31
//! currency = "EUR"
//! source = "my contract"
//! date = "2026-01-01"
//!
//! [grid]                                  # grams of CO2 equivalents for a kilowatt-hour, here
//! g_per_kwh = [300, 360, 420]             # at least, best guess, at most; or one number
//! source = "the grid operator's year"
//! date = "2025-12-31"
//!
//! [cloud]                                 # what an answer would have taken elsewhere
//! short_query_wh = [0.05, 0.28, 1.0]
//! short_query_tokens = 500                # tokens of such an answer
//! input_token_weight = 0.35               # of a token of the prompt, beside one of the answer
//! price = "small"                         # the list below that it would have been paid by
//! source = "a study"
//! date = "2025-08-21"
//!
//! [[price]]
//! model = "small"
//! currency = "USD"
//! input_per_million = 0.15
//! output_per_million = 0.6
//! source = "the provider's list"
//! date = "2026-02-01"
//! ```

use serde::Deserialize;

use super::amount::{Carbon, Energy, Interval, Method, Money, Scope};

/// Prices, grid and cloud.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// What electricity costs here.
    pub electricity: Option<Tariff>,
    /// What it gives off.
    pub grid: Option<Grid>,
    /// What an answer takes elsewhere.
    #[serde(default)]
    pub cloud: Cloud,
    /// What answers cost elsewhere.
    #[serde(default)]
    pub price: Vec<Price>,
}

/// A tariff of electricity.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Of the currency.
    pub per_kwh: f64,
    /// As ISO 4217 writes it.
    pub currency: String,
    /// Whose.
    pub source: String,
    /// Of which day.
    pub date: String,
}

/// What a grid gives off.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Grams of CO2 equivalents for a kilowatt-hour.
    pub g_per_kwh: Bounds,
    /// Whose figure.
    pub source: String,
    /// Of which day.
    pub date: String,
}

/// One number, or at least, best guess and at most.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Bounds {
    /// One number.
    One(f64),
    /// Three that rise.
    Three([f64; 3]),
}

/// What an answer takes elsewhere: what a short query takes, in proportion to its tokens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cloud {
    /// Watt-hours of a short query.
    pub short_query_wh: Bounds,
    /// Tokens of its answer.
    pub short_query_tokens: u64,
    /// Of a token of the prompt, beside one of the answer.
    pub input_token_weight: f64,
    /// The model among the prices by which it would have been paid.
    pub price: Option<String>,
    /// Grams of CO2 equivalents for a kilowatt-hour, there.
    pub g_per_kwh: Option<Bounds>,
    /// Whose figures.
    pub source: String,
    /// Of which day.
    pub date: String,
}

/// The prior: from 0.05 to 1.0 Wh for a short query, around what two publishers said of theirs, 0.24 Wh (the median text prompt of
/// one provider, without saying how long it is) and 0.3 Wh (an estimate for 500 tokens of answer). The same estimate has 2.5 Wh for
/// 10,000 tokens of prompt, from which a token of the prompt weighs about a third of one of the answer.
impl Default for Cloud {
    fn default() -> Self {
        Self {
            short_query_wh: Bounds::Three([0.05, 0.28, 1.0]),
            short_query_tokens: 500,
            input_token_weight: 0.35,
            price: None,
            g_per_kwh: None,
            source:
                "prior around Google's 0.24 Wh (median Gemini text prompt) and Epoch AI's 0.3 Wh (500 tokens)"
                    .to_owned(),
            date: "2025-08-21".to_owned(),
        }
    }
}

/// What a provider asks for a model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Which model.
    pub model: String,
    /// As ISO 4217 writes it.
    pub currency: String,
    /// For a million tokens of prompts.
    pub input_per_million: f64,
    /// For a million tokens of answers.
    pub output_per_million: f64,
    /// Whose list.
    pub source: String,
    /// Of which day.
    pub date: String,
}

/// The most bytes of a book.
const BYTES_MAX: usize = 1 << 20;
/// Microjoules of a kilowatt-hour, and of a watt-hour.
const UJ_PER_KWH: u64 = 3_600_000_000_000;
const UJ_PER_WH: f64 = 3.6e9;
/// Billionths, of money.
const NANO: f64 = 1e9;
/// Micrograms of a gram.
const UG_PER_G: f64 = 1e6;

impl Book {
    /// From TOML.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("{} bytes, expected {BYTES_MAX} at most", text.len()));
        }
        let book: Self = toml::from_str(text).map_err(|e| {
            let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, e.message().replace('\n', ", "))
        })?;
        book.check()?;
        Ok(book)
    }

    fn check(&self) -> Result<(), String> {
        let number = |what: &str, n: f64| match n {
            n if (0.0..1e6).contains(&n) => Ok(()),
            n => Err(format!("{what} = {n}, expected a number from 0 on and below a million")),
        };
        let dates = [
            self.electricity.as_ref().map(|t| ("electricity.date", &t.date)),
            self.grid.as_ref().map(|g| ("grid.date", &g.date)),
            Some(("cloud.date", &self.cloud.date)),
        ];
        let dates = dates.into_iter().flatten().chain(self.price.iter().map(|p| ("price.date", &p.date)));
        for (what, date) in dates {
            if !is_date(date) {
                return Err(format!("{what} = {date:?}, expected YYYY-MM-DD"));
            }
        }
        let tariff = self.electricity.as_ref().map(|tariff| &tariff.currency);
        for currency in tariff.into_iter().chain(self.price.iter().map(|price| &price.currency)) {
            if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(format!("currency = {currency:?}, expected three capitals, as EUR"));
            }
        }
        if let Some(tariff) = &self.electricity {
            number("electricity.per_kwh", tariff.per_kwh)?;
        }
        for price in &self.price {
            number("price.input_per_million", price.input_per_million)?;
            number("price.output_per_million", price.output_per_million)?;
        }
        let Cloud { short_query_wh, short_query_tokens, input_token_weight, g_per_kwh, price, .. } =
            &self.cloud;
        number("cloud.input_token_weight", *input_token_weight)?;
        let bounds = [
            Some(("cloud.short_query_wh", *short_query_wh)),
            g_per_kwh.map(|bounds| ("cloud.g_per_kwh", bounds)),
            self.grid.as_ref().map(|grid| ("grid.g_per_kwh", grid.g_per_kwh)),
        ];
        for (what, bounds) in bounds.into_iter().flatten() {
            let [low, value, high] = bounds.three();
            [low, value, high].into_iter().try_for_each(|n| number(what, n))?;
            if low > value || value > high {
                return Err(format!("{what} = [{low}, {value}, {high}], expected three numbers that rise"));
            }
        }
        if !(1..=1_000_000).contains(short_query_tokens) {
            return Err(format!("cloud.short_query_tokens = {short_query_tokens}, expected 1 to a million"));
        }
        match price {
            Some(name) if self.price_of(name).is_none() => {
                Err(format!("cloud.price = {name:?}, expected the model of a [[price]]"))
            }
            _ => Ok(()),
        }
    }

    /// The price of `model`.
    pub fn price_of(&self, model: &str) -> Option<&Price> {
        self.price.iter().find(|price| price.model == model)
    }

    /// What energy that was used here costs.
    pub fn electricity_money(&self, energy: &Energy) -> Option<Money> {
        let tariff = self.electricity.as_ref()?;
        let nano_per_kwh = Interval::exactly((tariff.per_kwh * NANO).round() as u64);
        Some(Money {
            nano: energy.uj.scaled(nano_per_kwh, UJ_PER_KWH),
            currency: tariff.currency.clone(),
            source: tariff.source.clone(),
            date: tariff.date.clone(),
        })
    }

    /// What energy that was used here gave off.
    pub fn carbon(&self, energy: &Energy) -> Option<Carbon> {
        let grid = self.grid.as_ref()?;
        let ug_per_kwh = grid.g_per_kwh.interval(UG_PER_G);
        let ug = energy.uj.scaled(ug_per_kwh, UJ_PER_KWH);
        Some(Carbon { ug, source: grid.source.clone(), date: grid.date.clone() })
    }

    /// What an answer takes elsewhere.
    pub fn cloud_energy(&self, tokens_in: u64, tokens_out: u64) -> Energy {
        let weight = (self.cloud.input_token_weight * 1000.0).round() as u64;
        let tokens = tokens_in.saturating_mul(weight).saturating_add(tokens_out.saturating_mul(1000));
        let of = self.cloud.short_query_tokens.saturating_mul(1000);
        let uj = self.cloud.short_query_wh.interval(UJ_PER_WH).scaled(Interval::exactly(tokens), of);
        Energy { uj, method: Method::Estimated, scope: Scope::FullStack, idle_subtracted: false }
    }

    /// What energy that was used elsewhere gave off; `None` where the book does not say what the grid there does.
    pub fn cloud_carbon(&self, energy: &Energy) -> Option<Carbon> {
        let ug_per_kwh = self.cloud.g_per_kwh?.interval(UG_PER_G);
        let ug = energy.uj.scaled(ug_per_kwh, UJ_PER_KWH);
        Some(Carbon { ug, source: self.cloud.source.clone(), date: self.cloud.date.clone() })
    }

    /// What an answer of `model` costs elsewhere.
    pub fn cloud_money(&self, model: &str, tokens_in: u64, tokens_out: u64) -> Option<Money> {
        let price = self.price_of(model)?;
        let part = |tokens: u64, per_million: f64| u128::from(tokens) * (per_million * NANO).round() as u128;
        let nano = part(tokens_in, price.input_per_million) + part(tokens_out, price.output_per_million);
        Some(Money {
            nano: Interval::exactly(u64::try_from(nano / 1_000_000).unwrap_or(u64::MAX)),
            currency: price.currency.clone(),
            source: format!("{} ({})", price.source, price.model),
            date: price.date.clone(),
        })
    }
}

impl Bounds {
    fn three(self) -> [f64; 3] {
        match self {
            Self::One(n) => [n; 3],
            Self::Three(three) => three,
        }
    }

    fn interval(self, unit: f64) -> Interval {
        let [low, value, high] = self.three().map(|n| (n * unit).round() as u64);
        Interval { low, value, high }
    }
}

/// Whether it is written as `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    matches!(&parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: &str = r#"
[electricity]
per_kwh = 0.36
currency = "EUR"
source = "a contract"
date = "2026-01-01"
[grid]
g_per_kwh = [300, 360, 720]
source = "an operator"
date = "2025-12-31"
[cloud]
price = "small"
[[price]]
model = "small"
currency = "USD"
input_per_million = 0.15
output_per_million = 0.6
source = "a list"
date = "2026-02-01"
"#;

    fn energy([low, value, high]: [u64; 3]) -> Energy {
        let uj = Interval { low, value, high };
        Energy { uj, method: Method::Measured, scope: Scope::Package, idle_subtracted: false }
    }

    #[test]
    fn figures_become_money_and_carbon_exactly() {
        let book = Book::parse(BOOK).unwrap();
        // 100 J, 200 J and 300 J are 1/36000, 2/36000 and 3/36000 kWh.
        let used = energy([100_000_000, 200_000_000, 300_000_000]);
        let money = book.electricity_money(&used).unwrap();
        assert_eq!(
            (money.nano, &*money.currency),
            (Interval { low: 10_000, value: 20_000, high: 30_000 }, "EUR")
        );
        let carbon = book.carbon(&used).unwrap();
        assert_eq!(carbon.ug, Interval { low: 8333, value: 20_000, high: 60_000 });
        let there = book.cloud_money("small", 1000, 500).unwrap();
        assert_eq!(there.nano, Interval::exactly(150_000 + 300_000));
        assert_eq!(there.source, "a list (small)");
        assert_eq!(book.cloud_money("other", 1, 1), None);
        assert_eq!(Book::default().electricity_money(&used), None);
        assert_eq!(Book::default().carbon(&used), None);
    }

    #[test]
    fn the_prior_is_a_short_query_in_proportion_to_tokens() {
        let book = Book::default();
        let short = book.cloud_energy(0, 500);
        assert_eq!(short.uj, Interval { low: 180_000_000, value: 1_008_000_000, high: 3_600_000_000 });
        assert_eq!((short.method, short.scope), (Method::Estimated, Scope::FullStack));
        assert_eq!(
            book.cloud_energy(1000, 150).uj,
            short.uj,
            "350 tokens' worth of prompt and 150 of answer"
        );
        assert_eq!(book.cloud_energy(0, 0).uj, Interval::exactly(0));
        assert_eq!(book.cloud_energy(u64::MAX, u64::MAX).uj.high, u64::MAX);
    }

    #[test]
    fn a_wrong_book_says_where() {
        let said = |text: &str| Book::parse(text).unwrap_err();
        assert!(said("[cloud]\nshort_query_wh = [1, 0.5, 2]").contains("expected three numbers that rise"));
        assert!(said("[cloud]\nprice = \"x\"").contains("expected the model of a [[price]]"));
        assert!(said(&BOOK.replace("EUR", "euro")).contains("expected three capitals"));
        assert!(said("[cloud]\ndate = \"yesterday\"").contains("expected YYYY-MM-DD"));
        assert!(said("[cloud]\ninput_token_weight = -1").contains("expected a number from 0 on"));
        assert!(said("[cloud]\ninput_token_weight = nan").contains("expected a number from 0 on"));
        assert!(said("\n[clout]\n").starts_with("line 2: "), "{}", said("\n[clout]\n"));
    }
}
