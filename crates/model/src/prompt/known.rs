//! Templates of families, for models that come without one that can be run.
//!
//! Images of Ollama's registry say how a prompt is written in the language of Go's text/template, which is not run here. But what it
//! writes around messages is the family's own, and says which family that is: [`of_go`] reads those markers, and gives a template in Jinja that
//! writes the same around roles and turns. Left out: tools and thoughts, which such a template may know too, and whatever else it
//! does; one with markers of no family here is not guessed at.

/// A family's way of writing conversations.
#[derive(Debug)]
pub struct Known {
    /// What it is called.
    pub name: &'static str,
    /// What its templates have all of.
    pub markers: &'static [&'static str],
    /// What they have none of.
    pub without: &'static [&'static str],
    /// The same in Jinja.
    pub source: &'static str,
}

/// Every family, those with the most telling markers first.
#[rustfmt::skip]
pub static KNOWN: &[&Known] = &[
    &Known { name: "Llama 3", markers: &["<|start_header_id|>", "<|eot_id|>"], without: &[], source: LLAMA_3 },
    &Known { name: "ChatML", markers: &["<|im_start|>", "<|im_end|>"], without: &["<|im_middle|>", "<|im_sep|>"], source: CHATML },
    &Known { name: "Gemma", markers: &["<start_of_turn>", "<end_of_turn>"], without: &[], source: GEMMA },
    &Known { name: "Phi 3", markers: &["<|user|>", "<|assistant|>", "<|end|>"], without: &["<|im_start|>"], source: PHI_3 },
    &Known { name: "Zephyr", markers: &["<|user|>", "<|assistant|>", "</s>"], without: &["<|end|>"], source: ZEPHYR },
    &Known { name: "Granite 3", markers: &["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"], without: &[], source: GRANITE_3 },
    &Known { name: "Llama 2", markers: &["[INST]", "[/INST]", "<<SYS>>"], without: &[], source: LLAMA_2 },
    &Known { name: "Mistral", markers: &["[INST]", "[/INST]"], without: &["<<SYS>>", "[SYSTEM_PROMPT]"], source: MISTRAL },
];

const LLAMA_3: &str = "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";
const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
// It has no system messages: what they say goes before the first message, as its own documentation advises.
const GEMMA: &str = "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = ns.system ~ m.content | trim ~ '\n\n' %}{% else %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ ns.system }}{{ m.content | trim }}<end_of_turn>\n{% set ns.system = '' %}{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}";
const PHI_3: &str = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
const ZEPHYR: &str = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
const GRANITE_3: &str = "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}";
const LLAMA_2: &str = "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = '<<SYS>>\n' ~ m.content | trim ~ '\n<</SYS>>\n\n' %}{% elif m.role == 'user' %}{{ bos_token }}[INST] {{ ns.system }}{{ m.content | trim }} [/INST]{% set ns.system = '' %}{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}";
const MISTRAL: &str = "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content | trim ~ '\n\n' %}{% elif m.role == 'user' %}[INST] {{ ns.system }}{{ m.content | trim }} [/INST]{% set ns.system = '' %}{% else %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}";

/// The family whose markers a template in Go's language has, the first of the list; `None` where it has those of none.
pub fn of_go(template: &str) -> Option<&'static Known> {
    let has = |marker: &&str| template.contains(*marker);
    KNOWN.iter().copied().find(|known| known.markers.iter().all(has) && !known.without.iter().any(has))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::prompt::{ChatTemplate, Now, RenderInput};

    fn render(known: &Known, messages: serde_json::Value) -> String {
        let input = RenderInput {
            messages: &messages,
            tools: None,
            add_generation_prompt: true,
            bos_token: "<s>",
            eos_token: "</s>",
            now: Now::parse_iso("2026-01-02T03:04:05").unwrap(),
            extra: Map::new(),
        };
        ChatTemplate::parse(known.source).unwrap().render(&input).unwrap()
    }

    /// A template writes the markers that it is known by, around everything that was said, in order.
    #[test]
    fn every_family_writes_all_that_was_said_between_its_markers() {
        let said = ["be kind", "one", "two", "three"];
        let messages = json!([
            {"role": "system", "content": said[0]},
            {"role": "user", "content": said[1]},
            {"role": "assistant", "content": said[2]},
            {"role": "user", "content": said[3]},
        ]);
        for known in KNOWN {
            let text = render(known, messages.clone());
            let places: Vec<_> = said.iter().map(|said| text.find(said)).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}: {text:?}", known.name);
            assert_eq!(of_go(&text).map(|found| found.name), Some(known.name), "{text:?}");
        }
    }

    /// Forms that templates of images have, shortened.
    #[test]
    fn go_templates_are_told_by_their_markers() {
        for (template, expected) in [
            (
                "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}<|eot_id|>{{ end }}",
                Some("Llama 3"),
            ),
            (
                "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n",
                Some("ChatML"),
            ),
            ("<start_of_turn>user\n{{ .Prompt }}<end_of_turn>\n<start_of_turn>model\n", Some("Gemma")),
            ("<|user|>\n{{ .Prompt }}<|end|>\n<|assistant|>\n{{ .Response }}<|end|>", Some("Phi 3")),
            ("[INST] <<SYS>>{{ .System }}<</SYS>>\n\n{{ .Prompt }} [/INST]", Some("Llama 2")),
            ("[INST] {{ if .System }}{{ .System }} {{ end }}{{ .Prompt }} [/INST]", Some("Mistral")),
            ("### Instruction:\n{{ .Prompt }}\n\n### Response:\n", None),
            ("{{ .Prompt }}", None),
            ("", None),
        ] {
            assert_eq!(of_go(template).map(|known| known.name), expected, "{template}");
        }
    }
}
