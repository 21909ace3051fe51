//! Here or there: the decision, as a pure function with its reason in words.
//!
//! It is asked twice. [`before`] an answer: whoever can't take the request (its length, tools, language, pictures) is out; then a prompt
//! score, if there is one, may say that the local attempt is a waste of time. [`after`] a local answer, or a part of one: its
//! confidence is known, which says far more than the prompt did, and the cloud is asked only if what it is expected to gain is worth
//! more than it costs and the budget has it.
//!
//! Whether the cloud may be asked at all is not decided here: the policy and the privacy gate come first, and a request they keep local has
//! no [`Cloud`]. Money is in the user's currency, whatever it is.

use std::fmt;

/// Something beside text that a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modality {
    /// Pictures.
    Image,
    /// Speech or other sound.
    Audio,
}

/// What a request needs of who answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Tokens of the prompt and of the longest answer that is wanted.
    pub n_tokens: usize,
    /// Whether tools must be called.
    pub tools: bool,
    /// Its language as a BCP 47 tag, if known.
    pub language: Option<String>,
    /// What it holds beside text.
    pub modalities: Vec<Modality>,
}

/// What a model can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Tokens of prompt and answer together.
    pub ctx: usize,
    /// Whether it calls tools.
    pub tools: bool,
    /// BCP 47 tags of the languages it is known to speak; empty where nobody says, which rules out none.
    pub languages: Vec<String>,
    /// What it takes beside text.
    pub modalities: Vec<Modality>,
}

/// An endpoint that policy and gate allow for this request.
#[derive(Debug, Clone, PartialEq)]
pub struct Cloud {
    /// What its model can take.
    pub abilities: Abilities,
    /// The probability that its answer is right, as far as is known.
    pub right: f64,
    /// What this request is expected to cost there.
    pub cost: f64,
}

/// What is at stake.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stakes {
    /// What a right answer in place of a wrong one is worth.
    pub worth: f64,
    /// What is left of the budget.
    pub budget_left: f64,
    /// The gain that a prompt score must expect for the local attempt to be left out; above 1 for never.
    pub direct_gain_min: f64,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The model on the device answers, or its answer stands.
    Local,
    /// The cloud is asked.
    Cloud,
    /// Nobody can or may answer.
    Refuse,
}

/// Where, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Where the request goes.
    pub route: Route,
    /// What decided; its text is a sentence.
    pub why: Why,
}

/// What decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// Policy, gate or settings leave no endpoint.
    NoCloud,
    /// The local model can't, and there is no endpoint.
    NobodyCan(Lack),
    /// Neither the local model nor the endpoint can.
    NeitherCan(Lack, Lack),
    /// Only the endpoint can, and is paid for.
    OnlyCloudCan(Lack),
    /// Only the endpoint could, and is too dear.
    OnlyCloudCouldBut(Lack, Price),
    /// The endpoint can't.
    CloudCannot(Lack),
    /// The prompt alone says that the local attempt would be wasted.
    PromptIsHard(Gain),
    /// The local model answers first, and its confidence decides then.
    LocalFirst(Option<f64>),
    /// The answer's confidence leaves more to gain than it costs.
    Unsure(Gain),
    /// The answer's confidence leaves too little to gain.
    SureEnough(Gain),
    /// There is something to gain, but too little is left of the budget.
    TooDear(Price),
}

/// What a model lacks for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// Room for tokens.
    Context {
        /// Tokens that are needed.
        needed: usize,
        /// Tokens that there is room for.
        has: usize,
    },
    /// Calling tools.
    Tools,
    /// The language.
    Language(String),
    /// A kind of input.
    Input(Modality),
}

/// A gain in probability, what it is worth and what it costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// By how much a right answer becomes more probable.
    pub gain: f64,
    /// That, times what a right answer is worth.
    pub worth: f64,
    /// What asking costs.
    pub cost: f64,
}

/// A cost and what is left for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// What asking costs.
    pub cost: f64,
    /// What is left of the budget.
    pub budget_left: f64,
}

impl Abilities {
    /// What is missing for a request, the first of context, tools, language and input.
    pub fn lack(&self, needs: &Needs) -> Option<Lack> {
        if needs.n_tokens > self.ctx {
            return Some(Lack::Context { needed: needs.n_tokens, has: self.ctx });
        }
        if needs.tools && !self.tools {
            return Some(Lack::Tools);
        }
        let speaks = |tag: &&String| self.languages.iter().any(|own| primary(own) == primary(tag));
        if let Some(tag) = needs.language.as_ref().filter(|tag| !self.languages.is_empty() && !speaks(tag)) {
            return Some(Lack::Language(tag.clone()));
        }
        needs.modalities.iter().find(|m| !self.modalities.contains(m)).map(|m| Lack::Input(*m))
    }
}

/// The language of a tag without its script and region.
fn primary(tag: &str) -> String {
    tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// Where a request goes first. `expected_gain` is the prompt score's.
pub fn before(
    needs: &Needs,
    local: &Abilities,
    cloud: Option<&Cloud>,
    expected_gain: Option<f64>,
    stakes: &Stakes,
) -> Decision {
    let decided = |route, why| Decision { route, why };
    let lack = local.lack(needs);
    let Some(cloud) = cloud else {
        return match lack {
            Some(lack) => decided(Route::Refuse, Why::NobodyCan(lack)),
            None => decided(Route::Local, Why::NoCloud),
        };
    };
    let price = Price { cost: cloud.cost, budget_left: stakes.budget_left };
    match (lack, cloud.abilities.lack(needs)) {
        (Some(here), Some(there)) => decided(Route::Refuse, Why::NeitherCan(here, there)),
        (Some(here), None) if price.fits() => decided(Route::Cloud, Why::OnlyCloudCan(here)),
        (Some(here), None) => decided(Route::Refuse, Why::OnlyCloudCouldBut(here, price)),
        (None, Some(there)) => decided(Route::Local, Why::CloudCannot(there)),
        (None, None) => match expected_gain.map(|gain| Gain::of(gain, cloud, stakes)) {
            Some(gain) if gain.gain >= stakes.direct_gain_min && gain.pays() && price.fits() => {
                decided(Route::Cloud, Why::PromptIsHard(gain))
            }
            _ => decided(Route::Local, Why::LocalFirst(expected_gain)),
        },
    }
}

/// What becomes of a local answer, or of a part of one, that is right with the probability `confidence`. `cloud` is as it was [`before`].
pub fn after(needs: &Needs, confidence: f64, cloud: Option<&Cloud>, stakes: &Stakes) -> Decision {
    let stays = |why| Decision { route: Route::Local, why };
    let Some(cloud) = cloud else { return stays(Why::NoCloud) };
    if let Some(lack) = cloud.abilities.lack(needs) {
        return stays(Why::CloudCannot(lack));
    }
    let gain = Gain::of(cloud.right - confidence, cloud, stakes);
    let price = Price { cost: cloud.cost, budget_left: stakes.budget_left };
    match (gain.pays(), price.fits()) {
        (true, true) => Decision { route: Route::Cloud, why: Why::Unsure(gain) },
        (true, false) => stays(Why::TooDear(price)),
        (false, _) => stays(Why::SureEnough(gain)),
    }
}

impl Gain {
    fn of(gain: f64, cloud: &Cloud, stakes: &Stakes) -> Self {
        Self { gain, worth: gain * stakes.worth, cost: cloud.cost }
    }

    /// Whether it is worth more than it costs; what is not a number is not.
    fn pays(&self) -> bool {
        self.worth > self.cost
    }
}

impl Price {
    /// Whether the budget has it; what is not a number is not there.
    fn fits(&self) -> bool {
        self.cost <= self.budget_left
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context { needed, has } => write!(f, "has room for {has} tokens of the {needed} needed"),
            Self::Tools => write!(f, "calls no tools"),
            Self::Language(tag) => write!(f, "does not speak \"{tag}\""),
            Self::Input(Modality::Image) => write!(f, "takes no pictures"),
            Self::Input(Modality::Audio) => write!(f, "takes no sound"),
        }
    }
}

impl fmt::Display for Gain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gain, worth, cost } = self;
        write!(f, "a gain of {:.1} points, worth {worth:.4}, for {cost:.4}", 100.0 * gain)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "costs {:.4} and {:.4} is left of the budget", self.cost, self.budget_left)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCloud => write!(f, "no cloud may be asked"),
            Self::NobodyCan(lack) => write!(f, "the local model {lack}, and no cloud may be asked"),
            Self::NeitherCan(here, there) => write!(f, "the local model {here}, and the cloud's {there}"),
            Self::OnlyCloudCan(lack) => write!(f, "the local model {lack}; the cloud's can"),
            Self::OnlyCloudCouldBut(lack, price) => {
                write!(f, "the local model {lack}; the cloud's could, but it {price}")
            }
            Self::CloudCannot(lack) => write!(f, "the cloud's model {lack}"),
            Self::PromptIsHard(gain) => {
                write!(f, "by its words the prompt is hard: the cloud promises {gain}")
            }
            Self::LocalFirst(None) => write!(f, "the local model answers first"),
            Self::LocalFirst(Some(gain)) => {
                write!(
                    f,
                    "the local model answers first: by its words the prompt leaves {:.1} points to gain",
                    100.0 * gain
                )
            }
            Self::Unsure(gain) => write!(f, "the local answer is unsure: the cloud promises {gain}"),
            Self::SureEnough(gain) => write!(f, "the local answer is sure enough: the cloud promises {gain}"),
            Self::TooDear(price) => write!(f, "the local answer is unsure, but the cloud {price}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(n_tokens: usize) -> Needs {
        Needs { n_tokens, tools: false, language: None, modalities: vec![] }
    }

    fn abilities(ctx: usize) -> Abilities {
        Abilities { ctx, tools: false, languages: vec!["en".into()], modalities: vec![] }
    }

    fn cloud(cost: f64) -> Cloud {
        Cloud { abilities: Abilities { languages: vec![], ..abilities(100_000) }, right: 0.9, cost }
    }

    const STAKES: Stakes = Stakes { worth: 0.1, budget_left: 0.05, direct_gain_min: 0.6 };

    /// The route and the sentence.
    fn told(decision: Decision) -> (Route, String) {
        (decision.route, decision.why.to_string())
    }

    #[test]
    fn who_cannot_is_out() {
        let decide = |needs: &Needs, cloud: Option<&Cloud>| {
            told(before(needs, &abilities(4096), cloud, None, &STAKES))
        };
        assert_eq!(decide(&needs(100), None), (Route::Local, "no cloud may be asked".into()));
        let long = "the local model has room for 4096 tokens of the 9000 needed";
        assert_eq!(decide(&needs(9000), None), (Route::Refuse, format!("{long}, and no cloud may be asked")));
        let (cheap, dear) = (cloud(0.01), cloud(0.06));
        assert_eq!(decide(&needs(9000), Some(&cheap)), (Route::Cloud, format!("{long}; the cloud's can")));
        let but = "costs 0.0600 and 0.0500 is left of the budget";
        assert_eq!(
            decide(&needs(9000), Some(&dear)),
            (Route::Refuse, format!("{long}; the cloud's could, but it {but}"))
        );
        assert_eq!(decide(&needs(1 << 20), Some(&cheap)).0, Route::Refuse);
        let tools = Needs { tools: true, ..needs(10) };
        let why = "the local model calls no tools, and the cloud's calls no tools";
        assert_eq!(decide(&tools, Some(&cheap)), (Route::Refuse, why.into()));
        let german = Needs { language: Some("de-AT".into()), ..needs(10) };
        let why = "the local model does not speak \"de-AT\"; the cloud's can";
        assert_eq!(decide(&german, Some(&cheap)), (Route::Cloud, why.into()));
        let english = Needs { language: Some("EN_us".into()), ..needs(10) };
        assert_eq!(decide(&english, Some(&cheap)).0, Route::Local);
        let seen = Needs { modalities: vec![Modality::Image], ..needs(10) };
        assert_eq!(decide(&seen, None).1, "the local model takes no pictures, and no cloud may be asked");
        let mut sighted = abilities(4096);
        sighted.modalities = vec![Modality::Image];
        let told = told(before(&seen, &sighted, Some(&cheap), Some(1.0), &STAKES));
        assert_eq!(told, (Route::Local, "the cloud's model takes no pictures".into()));
    }

    #[test]
    fn a_prompt_must_be_very_hard_to_go_at_once() {
        let decide =
            |gain, cost| told(before(&needs(10), &abilities(4096), Some(&cloud(cost)), gain, &STAKES));
        assert_eq!(decide(None, 0.01), (Route::Local, "the local model answers first".into()));
        let why = "the local model answers first: by its words the prompt leaves 30.0 points to gain";
        assert_eq!(decide(Some(0.3), 0.01), (Route::Local, why.into()));
        let why = "by its words the prompt is hard: the cloud promises a gain of 70.0 points, worth 0.0700, for 0.0100";
        assert_eq!(decide(Some(0.7), 0.01), (Route::Cloud, why.into()));
        // Worth more than it costs, but the budget does not have it.
        assert_eq!(decide(Some(0.7), 0.06).0, Route::Local);
        assert_eq!(decide(Some(f64::NAN), 0.01).0, Route::Local);
    }

    #[test]
    fn an_answer_is_replaced_when_that_pays() {
        let decide = |confidence, cost| told(after(&needs(10), confidence, Some(&cloud(cost)), &STAKES));
        let why =
            "the local answer is unsure: the cloud promises a gain of 50.0 points, worth 0.0500, for 0.0100";
        assert_eq!(decide(0.4, 0.01), (Route::Cloud, why.into()));
        let why = "the local answer is sure enough: the cloud promises a gain of 5.0 points, worth 0.0050, for 0.0100";
        assert_eq!(decide(0.85, 0.01), (Route::Local, why.into()));
        assert_eq!(decide(0.95, 0.0).0, Route::Local, "nothing to gain, though it is free");
        let why = "the local answer is unsure, but the cloud costs 0.0600 and 0.0500 is left of the budget";
        assert_eq!(decide(0.0, 0.06), (Route::Local, why.into()));
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(decide(odd, 0.01).0, if odd < 0.0 { Route::Cloud } else { Route::Local });
            assert_eq!(decide(0.1, odd).0 == Route::Cloud, odd < 0.0, "{odd}");
        }
        assert_eq!(
            told(after(&needs(10), 0.0, None, &STAKES)),
            (Route::Local, "no cloud may be asked".into())
        );
    }

    #[test]
    fn more_confidence_never_sends_more() {
        let cloud = cloud(0.02);
        let sent =
            |i: i32| after(&needs(10), f64::from(i) / 100.0, Some(&cloud), &STAKES).route == Route::Cloud;
        let sent: Vec<bool> = (0..=100).map(sent).collect();
        assert!(sent.windows(2).all(|w| w[0] >= w[1]) && sent[0] && !sent[100]);
    }
}
