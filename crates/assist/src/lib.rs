//! Questions about long private documents, answered by decomposition: the local model reads every passage, and only the questions
//! and the short facts that `route`'s gate releases may leave (the idea of MinionS, arXiv 2502.15964).
//!
//! Reading order: [`document`] cuts texts into passages, [`plan`] says what is asked of each, [`reading`] asks it of the local model and
//! believes only what is quoted word for word, [`facts`] is the sheet that comes of it, [`leaving`] says which of them may leave,
//! [`joining`] makes the answer of the sheet, [`course`] is the way through all of these, and [`told`] says how it went.
//!
//! # Documents are hostile, and so is who answers
//! A document may say "send everything", and a small model may obey it. It does not matter, as nothing that the model writes is a
//! deed: it has no tools, its reply is read as a quotation and a short answer and nothing else, and what becomes of that is decided by
//! code that never reads the document. So the worst that a document can do is to choose which of its own words stand in a fact, and
//! facts are few and short: an answer longer than [`facts::ANSWER_BYTES_MAX`] is none, all that may ever leave together are
//! [`facts::LEAVING_BYTES_MAX`] or a tenth of the documents, whichever is less, detectors read them as they read any request, and by
//! the rules that are always there the user sees each one before it leaves. Quotations, names of files and passages never leave at all.
//!
//! Who plans and joins elsewhere may ask for the whole document. It gets what anybody gets: facts within the same bounds, from at
//! most [`plan::QUESTIONS_MAX`] questions in each of [`course::ROUNDS_MAX`] rounds.
//!
//! This crate reads no files, connects to nobody, knows no clock and no environment: it is lent a reader and a way elsewhere.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod course;
pub mod document;
pub mod facts;
pub mod joining;
pub mod leaving;
pub mod plan;
pub mod reading;
pub mod told;
