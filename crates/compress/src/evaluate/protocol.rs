//! Protocols of perplexity: how a text is cut into windows and which of their tokens are scored.
//!
//! Numbers of different protocols must never stand in one column: a token that is predicted from 256 others is easier than
//! one predicted from 3, so the same model has different perplexities (Llama 2 7B is published with 5.80 and with 5.47).
//! Reports name theirs. A rest of the text that is shorter than a window is left out.

use std::fmt;

/// A way to score a text.
#[derive(Debug)]
pub struct Protocol {
    /// What is typed and printed.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Its usual number of tokens in a window.
    pub ctx: usize,
    /// Position of the first token of a window whose prediction of the next one is scored.
    first: fn(ctx: usize) -> usize,
    /// Whether BOS takes the place of each window's first token, where a model adds BOS; otherwise it stands before the text
    /// and nowhere else.
    pub bos_per_window: bool,
}

/// llama.cpp's: the second half of each window is scored.
pub static HALF: Protocol = Protocol {
    name: "half",
    about: "llama.cpp's: windows of 512 that begin with BOS where the model adds it, the second half scored",
    ctx: 512,
    first: |ctx| ctx / 2,
    bos_per_window: true,
};

/// That of GPTQ and of papers after it: all of each window is scored.
pub static WHOLE: Protocol = Protocol {
    name: "whole",
    about: "GPTQ's: windows of 2048 as the text has them, all but the first token scored",
    ctx: 2048,
    first: |_| 0,
    bos_per_window: false,
};

/// Every protocol; the first is the usual one. Files name them by their place here.
pub static PROTOCOLS: &[&Protocol] = &[&HALF, &WHOLE];

/// The least tokens of a window.
pub const CTX_MIN: usize = 4;

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl serde::Serialize for Protocol {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// A text cut into windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// How.
    pub protocol: &'static Protocol,
    /// Tokens of a window, at least [`CTX_MIN`].
    pub ctx: usize,
    /// The windows' ids, one after the other. `(n_windows * ctx)`
    pub tokens: Vec<u32>,
}

impl Text {
    /// Cuts `tokens`, and leaves out what does not fill a window and all windows after the first `windows_max`.
    ///
    /// # Panics
    /// When `ctx` is less than [`CTX_MIN`].
    pub fn new(protocol: &'static Protocol, ctx: usize, mut tokens: Vec<u32>, windows_max: usize) -> Self {
        assert!(ctx >= CTX_MIN, "windows of {ctx} tokens");
        tokens.truncate((tokens.len() / ctx).min(windows_max) * ctx);
        Self { protocol, ctx, tokens }
    }

    /// Windows.
    pub fn n_windows(&self) -> usize {
        self.tokens.len() / self.ctx
    }

    /// Position in a window of the first token whose prediction is scored.
    pub fn first(&self) -> usize {
        (self.protocol.first)(self.ctx)
    }

    /// Tokens of a window that are scored.
    pub fn per_window(&self) -> usize {
        self.ctx - 1 - self.first()
    }

    /// Tokens that are scored.
    pub fn n_scored(&self) -> usize {
        self.n_windows() * self.per_window()
    }

    /// What a model reads of window `i`: all but the last token, with `bos` in place of the first where the protocol says so.
    pub fn fed(&self, i: usize, bos: Option<u32>) -> Vec<u32> {
        let mut fed = self.tokens[i * self.ctx..(i + 1) * self.ctx - 1].to_vec();
        if let Some(bos) = bos.filter(|_| self.protocol.bos_per_window) {
            fed[0] = bos;
        }
        fed
    }

    /// The tokens of window `i` that are scored, in order.
    pub fn scored(&self, i: usize) -> &[u32] {
        &self.tokens[i * self.ctx + self.first() + 1..(i + 1) * self.ctx]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_scores_the_second_half_less_its_first() {
        let text = Text::new(&HALF, 8, (0..20).collect(), usize::MAX);
        assert_eq!((text.n_windows(), text.per_window(), text.n_scored()), (2, 3, 6));
        assert_eq!(text.fed(1, Some(99)), [99, 9, 10, 11, 12, 13, 14]);
        assert_eq!(text.scored(1), [13, 14, 15]);
    }

    #[test]
    fn whole_scores_all_but_the_first() {
        let text = Text::new(&WHOLE, 4, (0..12).collect(), 2);
        assert_eq!((text.n_windows(), text.n_scored()), (2, 6));
        assert_eq!(text.fed(0, Some(99)), [0, 1, 2]);
        assert_eq!(text.scored(0), [1, 2, 3]);
    }
}
