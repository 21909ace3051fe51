//! Tax numbers of persons in Brazil.
//!
//! Nine digits and two check digits.

use super::checksum::weighted;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "BR_CPF", word: "CPF", class: Class::Identity },
    about: "eleven digits with two right check digits, as 529.982.247-25 or beside a word such as CPF",
    source: "Receita Federal: Instrução Normativa 1548/2015",
    example: "meu CPF é ⟦529.982.247-25⟧",
    near_misses: &["529.982.247-26", "52998224725", "111.111.111-11"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(11..=11, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["cpf", "contribuinte", "cadastro"]);
        match n.layout {
            "3.3.3-2" | "11" | "3 3 3 2" | "9-2" | "3-3-3-2" | "3.3.3.2" if said => {
                hits.push(n.span.clone(), Certainty::Certain);
            }
            "3.3.3-2" => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let check = |n: usize| {
        let weights: Vec<u32> = (2..n as u32 + 2).rev().collect();
        u32::from(digits[n]) == weighted(&digits[..n], &weights) * 10 % 11 % 10
    };
    digits.iter().any(|digit| *digit != digits[0]) && check(9) && check(10)
}
