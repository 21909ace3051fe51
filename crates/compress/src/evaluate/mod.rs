//! What a model is worth, and what was lost: perplexity, divergence from a reference, tasks, and the verdict.
//!
//! Reading order: [`estimate`] is a figure with its error, [`windows`] gets errors right that come from text. [`protocol`]
//! cuts a text into windows, [`read`] has a model score them, [`divergence`] compares one position with a reference's, whose
//! rows come from a file: [`compact`] at 0.6 KB a token, [`full`] in llama.cpp's format. [`scores`] holds a run's values,
//! [`compare`] two runs in pairs. [`choices`] asks multiple-choice questions, [`tasks`] counts right answers. [`report`] is
//! all of it as data and as a table, [`limits`] what a recipe demands of it: the gate.
//!
//! Nothing here runs a model: whoever calls lends one as [`Predict`]. Nothing reads a clock or a file; sizes and speeds are
//! the caller's.

pub mod estimate;
pub mod windows;

pub mod protocol;

pub mod divergence;

pub mod compact;
pub mod full;

pub mod scores;

pub mod compare;

pub mod choices;
pub mod tasks;

pub mod limits;
pub mod report;

use protocol::Text;

/// A model that reads tokens and says what it expects next: an engine's session, a decoder, or a test's table.
pub trait Predict {
    /// Why it could not, or why who listens would not hear more.
    type Error;

    /// Reads `tokens` as a text of their own and hands out the logits `(n_vocab)` behind each from position `first` on, in order.
    ///
    /// # Errors
    /// Its own, and the first one that `row` returns.
    fn predict(
        &mut self,
        tokens: &[u32],
        first: usize,
        row: &mut dyn FnMut(&[f32]) -> Result<(), Self::Error>,
    ) -> Result<(), Self::Error>;
}

/// Has `model` read the windows of `text`, and hands each scored position's logits with the true token to `row`. `bos` is the
/// model's, where it adds one. After each window `done` hears how many were read.
///
/// # Errors
/// Those of the model, of `row` and of `done`, which can so end the work.
pub fn read<P: Predict>(
    text: &Text,
    bos: Option<u32>,
    model: &mut P,
    mut row: impl FnMut(&[f32], u32) -> Result<(), P::Error>,
    mut done: impl FnMut(usize) -> Result<(), P::Error>,
) -> Result<(), P::Error> {
    for i in 0..text.n_windows() {
        let mut scored = text.scored(i).iter();
        model.predict(&text.fed(i, bos), text.first(), &mut |logits| {
            let id = scored.next().expect("a model hands out as many rows as it was asked for");
            row(logits, *id)
        })?;
        assert!(scored.next().is_none(), "a model hands out as many rows as it was asked for");
        done(i + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects the token that follows in the alphabet.
    struct Alphabet;

    impl Predict for Alphabet {
        type Error = String;

        fn predict(
            &mut self,
            tokens: &[u32],
            first: usize,
            row: &mut dyn FnMut(&[f32]) -> Result<(), String>,
        ) -> Result<(), String> {
            tokens[first..].iter().try_for_each(|&id| {
                let mut logits = [0.0; 26];
                logits[(id as usize + 1) % 26] = 5.0;
                row(&logits)
            })
        }
    }

    #[test]
    fn each_scored_token_meets_the_logits_before_it() {
        let text = Text::new(&protocol::HALF, 8, (0..16).collect(), usize::MAX);
        let mut rows = Vec::new();
        let row = |logits: &[f32], id| {
            rows.push((divergence::top(logits), id));
            Ok(())
        };
        read(&text, Some(25), &mut Alphabet, row, |_| Ok(())).unwrap();
        assert_eq!(rows, [(5, 5), (6, 6), (7, 7), (13, 13), (14, 14), (15, 15)]);
    }

    #[test]
    fn who_listens_can_end_it() {
        let text = Text::new(&protocol::WHOLE, 4, (0..16).collect(), usize::MAX);
        let stop = |n| if n == 2 { Err("enough".to_owned()) } else { Ok(()) };
        let mut n_rows = 0;
        let row = |_: &[f32], _| {
            n_rows += 1;
            Ok(())
        };
        assert_eq!(read(&text, None, &mut Alphabet, row, stop), Err("enough".to_owned()));
        assert_eq!(n_rows, 6);
    }
}
