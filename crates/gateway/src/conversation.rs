//! A chat completions request: what the client sent, and what the provider gets for it.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// The header by which a client names the session it continues, as for the agent.
pub(crate) const SESSION_HEADER: &str = "x-hermes-session-id";
const MAX_SESSION_ID_BYTES: usize = 256;

const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];

/// A valid request.
#[derive(Debug)]
pub(crate) struct Completion {
    /// Whether the client wants the reply as it is made.
    pub(crate) stream: bool,
    /// Everything but the messages.
    parameters: Map<String, Value>,
    /// Messages of the roles `system` and `developer`.
    instructions: Vec<Value>,
    /// The other messages.
    dialogue: Vec<Value>,
}

impl Completion {
    /// Checks what this gateway relies on; the rest is between client and provider.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut parameters = match serde_json::from_slice(body) {
            Ok(Value::Object(parameters)) => parameters,
            Ok(_) => return Err(bad("invalid_json", "the body must be a JSON object")),
            Err(error) => {
                let message = format!("the body is not valid JSON: {error}");
                return Err(bad("invalid_json", message));
            }
        };
        let stream = match parameters.get("stream") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stream)) => *stream,
            Some(_) => {
                return Err(bad("invalid_type", "stream must be true or false").param("stream"));
            }
        };
        let Some(Value::Array(messages)) = parameters.remove("messages") else {
            return Err(bad_messages("messages must be a list"));
        };
        let mut instructions = Vec::new();
        let mut dialogue = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            match role(&message) {
                Some("system" | "developer") => instructions.push(message),
                Some(role) if ROLES.contains(&role) => dialogue.push(message),
                _ => {
                    return Err(bad_messages(format!(
                        "messages[{index}].role must be one of {}",
                        ROLES.join(", ")
                    )));
                }
            }
        }
        if dialogue.is_empty() {
            return Err(bad_messages(
                "messages must hold at least one message of a user",
            ));
        }
        Ok(Self {
            stream,
            parameters,
            instructions,
            dialogue,
        })
    }

    /// What the client added to a session that already has `history`: what follows the last
    /// reply, since clients tend to send the whole conversation each time. A session that is new
    /// here begins with all the client has.
    pub(crate) fn turn(&self, history: &[Value]) -> Result<&[Value], ApiError> {
        if history.is_empty() {
            return Ok(&self.dialogue);
        }
        let replies_end = self
            .dialogue
            .iter()
            .rposition(|message| role(message) == Some("assistant"))
            .map_or(0, |index| index + 1);
        match self.dialogue.get(replies_end..) {
            Some(turn) if !turn.is_empty() => Ok(turn),
            _ => Err(bad_messages("the last message must not be the assistant's")),
        }
    }

    /// The request to the provider: its model, the profile's own words first, then the client's
    /// instructions, then `dialogue`.
    pub(crate) fn upstream(&self, model: &str, soul: &str, dialogue: Vec<Value>) -> Value {
        let soul = soul.trim();
        let own = (!soul.is_empty()).then(|| json!({"role": "system", "content": soul}));
        let messages: Vec<_> = own
            .into_iter()
            .chain(self.instructions.iter().cloned())
            .chain(dialogue)
            .collect();
        let mut body = self.parameters.clone();
        body.insert("model".into(), model.into());
        body.insert("messages".into(), messages.into());
        Value::Object(body)
    }

    /// The conversation as the client sent it.
    pub(crate) fn dialogue(&self) -> &[Value] {
        &self.dialogue
    }
}

/// The session a request continues, if it names one.
pub(crate) fn session_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(SESSION_HEADER) else {
        return Ok(None);
    };
    let id = value.to_str().unwrap_or_default().trim();
    if id.is_empty() || id.len() > MAX_SESSION_ID_BYTES || id.contains('\t') {
        let message = format!(
            "X-Hermes-Session-Id must be 1 to {MAX_SESSION_ID_BYTES} visible ASCII characters"
        );
        return Err(bad("invalid_session_id", message));
    }
    Ok(Some(id.to_owned()))
}

/// A message's role.
pub(crate) fn role(message: &Value) -> Option<&str> {
    message.get("role")?.as_str()
}

fn bad(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::invalid(StatusCode::BAD_REQUEST, code, message)
}

fn bad_messages(message: impl Into<String>) -> ApiError {
    bad("invalid_messages", message).param("messages")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn parse(value: &Value) -> Result<Completion, ApiError> {
        Completion::parse(value.to_string().as_bytes())
    }

    #[test]
    fn the_profile_speaks_first_and_names_the_model() {
        let request = parse(&json!({
            "model": "whatever", "temperature": 0.5,
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "system", "content": "be brief"},
            ],
        }))
        .unwrap();
        let body = request.upstream("real-model", "I am writer.\n", request.dialogue().to_vec());
        assert_eq!(
            body,
            json!({"model": "real-model", "temperature": 0.5, "messages": [
                {"role": "system", "content": "I am writer."},
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hi"},
            ]})
        );
    }

    #[test]
    fn a_profile_without_words_adds_no_message() {
        let request = parse(&json!({"messages": [{"role": "user", "content": "hi"}]})).unwrap();
        let body = request.upstream("m", " \n", request.dialogue().to_vec());
        assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_session_takes_only_what_follows_the_last_reply() {
        let request = parse(&json!({"messages": [
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "3"},
        ]}))
        .unwrap();
        assert_eq!(request.turn(&[]).unwrap().len(), 3);
        let turn = request.turn(&[json!({"role": "user"})]).unwrap();
        assert_eq!(turn, [json!({"role": "user", "content": "3"})]);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_named() {
        for (body, code) in [
            (json!([]), "invalid_json"),
            (json!({}), "invalid_messages"),
            (json!({"messages": {}}), "invalid_messages"),
            (json!({"messages": []}), "invalid_messages"),
            (json!({"messages": ["x"]}), "invalid_messages"),
            (json!({"messages": [{"role": "robot"}]}), "invalid_messages"),
            (
                json!({"messages": [{"role": "system", "content": ""}]}),
                "invalid_messages",
            ),
            (
                json!({"messages": [{"role": "user"}], "stream": "yes"}),
                "invalid_type",
            ),
        ] {
            let error = parse(&body).unwrap_err();
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
            assert_eq!(error.body()["error"]["code"], code, "{body}");
        }
        let deep = "[".repeat(100_000);
        assert!(Completion::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_session_id_is_plain_and_short() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(SESSION_HEADER, HeaderValue::from_bytes(value).unwrap());
            session_id(&headers)
        };
        assert_eq!(session_id(&HeaderMap::new()), Ok(None));
        assert_eq!(id(b"chat-1"), Ok(Some("chat-1".to_owned())));
        assert!(id(b"").is_err());
        assert!(id(b"\xc3\xa4").is_err());
        assert!(id(&[b'a'; MAX_SESSION_ID_BYTES + 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Completion::parse(&body);
        }

        #[test]
        fn any_list_of_messages_is_taken_apart_and_kept(
            roles in proptest::collection::vec(0..ROLES.len(), 1..20),
        ) {
            let messages: Vec<_> = roles.iter().map(|r| json!({"role": ROLES[*r]})).collect();
            if let Ok(request) = parse(&json!({"messages": messages})) {
                let body = request.upstream("m", "", request.dialogue().to_vec());
                prop_assert_eq!(body["messages"].as_array().unwrap().len(), roles.len());
                prop_assert!(!request.turn(&[]).unwrap().is_empty());
            } else {
                prop_assert!(roles.iter().all(|r| *r < 2));
            }
        }
    }
}
