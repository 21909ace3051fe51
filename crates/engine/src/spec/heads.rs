//! Heads that a model's file carries for guessing: layers for multi-token prediction (DeepSeek-V3, arXiv 2412.19437) and EAGLE's
//! (arXiv 2503.01840). Their place on the shelf: files are recognised, and refused until their families are run.

use super::{Drafter, Kind, Plan};
use crate::error::{Error, Result};

pub static KIND: Kind = Kind {
    name: "heads",
    argument: "",
    about: "heads for the next tokens that the model's file carries; recognised, not run yet",
    source: "arXiv 2412.19437, arXiv 2503.01840",
    is_free: false,
    make,
};

fn make(plan: &Plan<'_>) -> Result<Box<dyn Drafter>> {
    let file = &plan.target.file;
    let contents = file.contents();
    let arch = contents.str("general.architecture").ok().flatten().unwrap_or_default();
    let n_next = contents.uint(&format!("{arch}.nextn_predict_layers")).ok().flatten().unwrap_or(0);
    let found = match n_next {
        _ if arch.starts_with("eagle") => "EAGLE heads".to_owned(),
        0 => "no heads that guess".to_owned(),
        n => format!("{n} layers for multi-token prediction (nextn_predict_layers)"),
    };
    let why = "which are not run yet; use lookup, exit:K or draft:MODEL";
    let why =
        if n_next == 0 && !arch.starts_with("eagle") { "use lookup, exit:K or draft:MODEL" } else { why };
    Err(Error::Input(format!("{}: the file carries {found}, {why}", file.name())))
}
