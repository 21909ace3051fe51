//! What was said so far, in the form of the OpenAI API: objects with `role` and `content`.

use serde_json::{Value as Json, json};

/// Messages, a system message first if there is one.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    messages: Vec<Json>,
}

impl Conversation {
    /// A conversation with nothing but an optional system message.
    pub fn new(system: Option<&str>) -> Self {
        let mut new = Self::default();
        new.set_system(system);
        new
    }

    /// Replaces the system message; `None` or an empty text removes it.
    pub fn set_system(&mut self, system: Option<&str>) {
        self.messages.retain(|m| m["role"] != "system");
        if let Some(system) = system.filter(|s| !s.is_empty()) {
            self.messages.insert(0, json!({ "role": "system", "content": system }));
        }
    }

    /// Adds a message.
    pub fn push(&mut self, role: &str, content: &str) {
        self.messages.push(json!({ "role": role, "content": content }));
    }

    /// Forgets all but the system message.
    pub fn clear(&mut self) {
        self.messages.retain(|m| m["role"] == "system");
    }

    /// Messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        Json::Array(self.messages.clone())
    }

    /// From JSON, as `to_json` writes it and the OpenAI API takes it.
    pub fn from_json(json: Json) -> Result<Self, String> {
        let Json::Array(messages) = json else { return Err("expected an array of messages".into()) };
        for (i, message) in messages.iter().enumerate() {
            if !message["role"].is_string() {
                return Err(format!("message {i}: expected an object with a role"));
            }
        }
        Ok(Self { messages })
    }

    /// Removes the oldest turn that is neither the system message nor the last message, a question with its answer;
    /// `false` when there is none.
    pub fn drop_oldest(&mut self) -> bool {
        let oldest = self.messages.iter().position(|m| m["role"] != "system");
        let Some(first) = oldest.filter(|&i| i + 1 < self.messages.len()) else { return false };
        self.messages.remove(first);
        while first + 1 < self.messages.len() && self.messages[first]["role"] != "user" {
            self.messages.remove(first);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of all messages, one after the other.
    fn plain(c: &Conversation) -> String {
        c.messages.iter().filter_map(|m| m["content"].as_str()).collect()
    }

    #[test]
    fn the_oldest_turn_goes_with_its_answer() {
        let mut c = Conversation::new(Some("S"));
        for (role, text) in
            [("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")]
        {
            c.push(role, text);
        }
        assert!(c.drop_oldest());
        assert_eq!(plain(&c), "S345");
        assert!(c.drop_oldest());
        assert_eq!(plain(&c), "S5");
        assert!(!c.drop_oldest());
    }

    #[test]
    fn system_messages_are_replaced_and_survive_clear() {
        let mut c = Conversation::new(None);
        c.push("user", "hi");
        c.set_system(Some("a"));
        c.set_system(Some("b"));
        assert_eq!(plain(&c), "bhi");
        c.clear();
        assert_eq!(plain(&c), "b");
        c.set_system(None);
        assert_eq!(c.len(), 0);
    }

    #[test]
    fn conversations_go_to_json_and_back() {
        let mut c = Conversation::new(Some("S"));
        c.push("user", "hi");
        assert_eq!(Conversation::from_json(c.to_json()).unwrap().to_json(), c.to_json());
        assert!(Conversation::from_json(json!({})).is_err());
        assert!(Conversation::from_json(json!([{ "content": "x" }])).is_err());
    }
}
