//! ERNIE 4.5 dense: Llama with heads wider than the model's share of them; rotary pairs are neighbours as trained.

use super::Family;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "ernie4_5",
    covers: "ERNIE 4.5 0.3B",
    source: "the ERNIE 4.5 technical report; the transformers library, models/ernie4_5",
    rope_order: Order::Interleaved,
    ..Family::BASE
};
