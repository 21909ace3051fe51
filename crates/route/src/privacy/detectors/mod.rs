//! The shelf of detectors: one file each, the gravest first, which is also the order in which ties are settled.

mod checksum;
mod gazetteer;
mod words;

mod api_key;
mod jwt;
mod password;
mod private_key;
mod token;

mod card;
mod crypto;
mod iban;

mod au_tfn;
mod be_nn;
mod birth;
mod br_cpf;
mod ca_sin;
mod ch_ahv;
mod cn_rid;
mod de_tax_id;
mod es_nif;
mod fi_hetu;
mod fr_nir;
mod in_aadhaar;
mod it_fiscal_code;
mod nl_bsn;
mod no_fnr;
mod pl_pesel;
mod se_pn;
mod tr_id;
mod uk_nhs;
mod uk_nino;
mod us_itin;
mod us_ssn;

mod email;
mod phone;

mod address;
mod person;

mod ip;
mod mac;
mod url;

use super::page::{Hits, Page};
use super::{Certainty, Class, Detector, Kind};

/// Every detector.
pub static DETECTORS: &[&Detector] = &[
    &private_key::DETECTOR,
    &jwt::DETECTOR,
    &api_key::DETECTOR,
    &password::DETECTOR,
    &token::DETECTOR,
    &card::DETECTOR,
    &iban::DETECTOR,
    &crypto::DETECTOR,
    &us_ssn::DETECTOR,
    &us_itin::DETECTOR,
    &uk_nhs::DETECTOR,
    &uk_nino::DETECTOR,
    &ca_sin::DETECTOR,
    &au_tfn::DETECTOR,
    &in_aadhaar::DETECTOR,
    &br_cpf::DETECTOR,
    &de_tax_id::DETECTOR,
    &ch_ahv::DETECTOR,
    &fr_nir::DETECTOR,
    &be_nn::DETECTOR,
    &nl_bsn::DETECTOR,
    &es_nif::DETECTOR,
    &it_fiscal_code::DETECTOR,
    &pl_pesel::DETECTOR,
    &se_pn::DETECTOR,
    &no_fnr::DETECTOR,
    &fi_hetu::DETECTOR,
    &tr_id::DETECTOR,
    &cn_rid::DETECTOR,
    &birth::DETECTOR,
    &email::DETECTOR,
    &phone::DETECTOR,
    &person::DETECTOR,
    &address::DETECTOR,
    &ip::DETECTOR,
    &mac::DETECTOR,
    &url::DETECTOR,
];

/// The detector of a kind: `CREDIT_CARD`.
pub fn detector(kind: &str) -> Option<&'static Detector> {
    DETECTORS.iter().find(|detector| detector.kind.name == kind).copied()
}
