//! What a finished answer says of itself: the probability that it is right, from how surely each of its tokens was chosen.
//!
//! While an answer comes, [`Margins`] takes by how much each token stood above the best other one and keeps a fixed small room
//! whatever the length. At the end they are a handful of numbers ([`FEATURES`]): quantiles, the least, the beginning, the length, whether
//! the model stopped by itself. A logistic regression (`logistic`) makes one score of them and an isotonic regression
//! (`isotonic`) a probability that means what it says (UCCI, arXiv 2605.18796; quantiles rather than means, arXiv 2404.10136).
//! [`Running`] watches the low margins while the answer still comes, so that a hopeless one can be given up early.
//!
//! [`feedback`] is a file of rows, numbers without text, from what users did with answers; [`Learned`] is what they make of the
//! defaults, on the device ([`Confidence::refit`]). Nothing here knows a token or a text, and of a model no more than a number.

pub mod feedback;
mod isotonic;
mod learned;
mod logistic;
mod margins;
mod model;
mod running;

pub use feedback::{Feedback, Signal};
pub use learned::{ENOUGH, Learned, Lesson, OfModel};
pub use margins::{Ending, FEATURES, Feature, Margins, N_FEATURES};
pub use model::{Confidence, ConfidenceError, Row};
pub use running::{Rule, Running, Verdict};
