//! The plan for models in memory, without models: what it promises, on drawn states, and how often it hits, on drawn traces.

mod adapters;
mod drawn;
mod promises;
mod trace;
mod vocabulary;
