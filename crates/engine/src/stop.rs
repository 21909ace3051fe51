//! Stop strings over streamed text: what may be shown, and when to stop.
//!
//! Text arrives in pieces of any size. The longest end of it that could still become a stop string is held back, so no part
//! of a stop string is ever shown, wherever the pieces are cut. The text ends before the stop string that is complete
//! first; of two that are complete at the same byte, before the longer one.
//!
//! Each stop string is matched byte by byte: time is linear in the text, whatever the strings.

use crate::pattern::Pattern;

/// Pieces up to this length cost no allocation; longer tokens are rare.
const PIECE_BYTES: usize = 256;

/// Holds streamed text back until it can't be part of a stop string.
#[derive(Debug, Clone)]
pub struct StopFilter {
    stops: Vec<Pattern>,
    /// Text not yet shown, from `shown` on.
    held: String,
    shown: usize,
    stopped: Option<usize>,
}

impl StopFilter {
    /// A filter for these stop strings; empty ones are ignored, as they would end every text.
    pub fn new(stops: &[impl AsRef<str>]) -> Self {
        let stops: Vec<Pattern> =
            stops.iter().map(AsRef::as_ref).filter(|s| !s.is_empty()).map(Pattern::new).collect();
        // What is held is at most the longest stop string and a piece, twice that before it is moved to the front.
        let longest = stops.iter().map(|s| s.n_bytes()).max().unwrap_or(0);
        Self { stops, held: String::with_capacity(2 * (longest + PIECE_BYTES)), shown: 0, stopped: None }
    }

    /// Takes the next piece and calls `show` with what is safe to show now. Returns whether a stop string was found; from
    /// then on nothing is taken or shown.
    pub fn push(&mut self, piece: &str, mut show: impl FnMut(&str)) -> bool {
        if self.stopped.is_some() {
            return true;
        }
        let before = self.held.len();
        self.held.push_str(piece);
        for (i, &byte) in piece.as_bytes().iter().enumerate() {
            let complete = self
                .stops
                .iter_mut()
                .enumerate()
                .filter_map(|(which, s)| s.advance(byte).then_some((s.n_bytes(), which)));
            // Every stop must see the byte; the longest wins, the first listed among equals.
            if let Some((len, which)) = complete.max_by_key(|&(len, which)| (len, std::cmp::Reverse(which))) {
                let end = before + i + 1 - len;
                self.show_until(end, &mut show);
                self.stopped = Some(which);
                return true;
            }
        }
        let pending = self.stops.iter().map(Pattern::matched).max().unwrap_or(0);
        self.show_until(self.held.len() - pending, &mut show);
        false
    }

    /// The text is over: shows what was held back, unless a stop string ended it.
    pub fn finish(&mut self, mut show: impl FnMut(&str)) {
        if self.stopped.is_none() {
            self.show_until(self.held.len(), &mut show);
            self.stops.iter_mut().for_each(Pattern::reset);
        }
    }

    /// Which stop string ended the text, counting from 0 without the empty ones.
    pub fn stopped_by(&self) -> Option<usize> {
        self.stopped
    }

    /// Shows up to byte `end` of `held`: always a character's border, as what is held starts like a stop string.
    fn show_until(&mut self, end: usize, show: &mut impl FnMut(&str)) {
        if end > self.shown {
            show(&self.held[self.shown..end]);
            self.shown = end;
        }
        // Moving the rest to the front only when it is the smaller part keeps the cost linear.
        if self.shown * 2 >= self.held.len() {
            self.held.drain(..self.shown);
            self.shown = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Rng;

    /// Feeds `pieces`; returns what was shown while streaming, all that was shown, and whether it stopped.
    fn stream(stops: &[&str], pieces: &[&str]) -> (String, String, bool) {
        let mut filter = StopFilter::new(stops);
        let mut shown = String::new();
        let stopped = pieces.iter().fold(false, |_, piece| filter.push(piece, |s| shown.push_str(s)));
        let early = shown.clone();
        filter.finish(|s| shown.push_str(s));
        (early, shown, stopped)
    }

    /// The slow twin: the first byte at which some stop string is complete, the longest there.
    fn oracle(stops: &[&str], text: &str) -> (String, bool) {
        for end in 1..=text.len() {
            let ends =
                stops.iter().filter(|s| !s.is_empty() && text.as_bytes()[..end].ends_with(s.as_bytes()));
            if let Some(stop) = ends.max_by_key(|s| s.len()) {
                return (text[..end - stop.len()].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_never_shown() {
        assert_eq!(stream(&["</end>"], &["Hello <", "/e", "nd", "> more"]).1, "Hello ");
        assert_eq!(stream(&["</end>"], &["a < b ", "</x>"]).1, "a < b </x>");
    }

    #[test]
    fn text_is_shown_as_soon_as_it_is_safe() {
        assert_eq!(stream(&["stop"], &["no st"]).0, "no ");
        assert_eq!(stream(&["stop"], &["no st", "ar"]).0, "no star");
        assert_eq!(stream(&[], &["at once"]).0, "at once");
        assert_eq!(stream(&["stop"], &["st"]).1, "st");
    }

    #[test]
    fn the_first_complete_one_wins_and_the_longest_of_those() {
        assert_eq!(stream(&["abcd", "bc"], &["xabcd"]).1, "xa");
        assert_eq!(stream(&["c", "abc"], &["xabcd"]).1, "x");
        let mut filter = StopFilter::new(&["zz", "c", "abc"]);
        assert!(filter.push("abc", |_| ()));
        assert_eq!(filter.stopped_by(), Some(2));
        assert!(filter.push("more", |_| panic!("shown after the stop")));
        filter.finish(|_| panic!("shown after the stop"));
    }

    #[test]
    fn characters_of_several_bytes_stay_whole() {
        assert_eq!(stream(&["é!"], &["caf", "é", "?"]).1, "café?");
        // U+00E9 and U+00E8 share their first byte.
        assert_eq!(stream(&["è"], &["é", "è", "e"]), ("é".into(), "é".into(), true));
    }

    #[test]
    fn agrees_with_the_oracle_however_the_text_is_cut() {
        let mut rng = Rng::new(2024);
        let alphabet = ["a", "b", "c", "é", "è"];
        for _ in 0..20_000 {
            let mut word = |max: u64| {
                let n = rng.below(max);
                (0..n).map(|_| alphabet[rng.below(5) as usize]).collect::<String>()
            };
            let stops = [word(5), word(4), word(3)];
            let text = word(24);
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut pieces = Vec::new();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let mut n = 1 + rng.below(rest.len() as u64) as usize;
                while !rest.is_char_boundary(n) {
                    n += 1;
                }
                pieces.push(&rest[..n]);
                rest = &rest[n..];
            }
            let (early, shown, stopped) = stream(&stops, &pieces);
            assert_eq!((shown.clone(), stopped), oracle(&stops, &text), "{stops:?} {pieces:?}");
            // What is held back is the longest end that could still become a stop string, and no more.
            if !stopped {
                let longest = stops
                    .iter()
                    .flat_map(|s| (0..s.len()).map(|n| &s.as_bytes()[..n]))
                    .filter(|start| text.as_bytes().ends_with(start))
                    .map(<[u8]>::len)
                    .max();
                assert_eq!(shown.len() - early.len(), longest.unwrap_or(0), "{stops:?} {pieces:?}");
            }
        }
    }

    #[test]
    fn a_hostile_stop_string_costs_linear_time() {
        let stop = format!("{}b", "a".repeat(50_000));
        let mut filter = StopFilter::new(&[stop]);
        let mut n_shown = 0;
        for _ in 0..1_000_000 {
            filter.push("a", |s| n_shown += s.len());
        }
        filter.finish(|s| n_shown += s.len());
        assert_eq!(n_shown, 1_000_000);
    }
}
