//! What a provider said, put together from the events of its stream.
//!
//! The stream goes to the client byte for byte; this reads along (server-sent events as in the
//! WHATWG HTML standard, `chat.completion.chunk` objects as in OpenAI's API) to know whether the
//! reply is complete, and to have it as one message for the session.

use serde_json::{Map, Value, json};

/// A reply longer than this is relayed and not remembered.
const MAX_BYTES: usize = 8 << 20;

/// The reply so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    content: String,
    tool_calls: Vec<Value>,
    taken: usize,
    overflowed: bool,
    finished: bool,
    done: bool,
}

impl Transcript {
    /// Reads on.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.taken = self.taken.saturating_add(chunk.len());
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let (line, following) = rest.split_at(end);
            self.extend_line(line);
            let line = std::mem::take(&mut self.line);
            self.read_line(&line);
            rest = following.get(1..).unwrap_or_default();
        }
        self.extend_line(rest);
    }

    /// Whether the provider has said that nothing follows.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the reply came to its end, be it without the last formality.
    pub(crate) fn is_complete(&self) -> bool {
        self.done || self.finished
    }

    /// Whether the stream stands in the middle of a line.
    pub(crate) fn is_mid_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// The reply as one message, if it is complete and was small enough to be kept.
    pub(crate) fn message(&self) -> Option<Value> {
        if !self.is_complete() || self.overflowed {
            return None;
        }
        let mut message = Map::from_iter([
            ("role".to_owned(), json!("assistant")),
            ("content".to_owned(), json!(self.content)),
        ]);
        if !self.tool_calls.is_empty() {
            message.insert("tool_calls".to_owned(), json!(self.tool_calls));
        } else if self.content.is_empty() {
            return None;
        }
        Some(Value::Object(message))
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if self.taken > MAX_BYTES {
            self.overflowed = true;
        }
        // Past the limit only short lines are of interest: the one that says it is over.
        if !self.overflowed || self.line.len() + bytes.len() < 64 {
            self.line.extend_from_slice(bytes);
        }
    }

    fn read_line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
        } else if let Ok(chunk) = serde_json::from_slice::<Value>(data) {
            self.read_chunk(&chunk);
        }
    }

    fn read_chunk(&mut self, chunk: &Value) {
        let Some(choice) = chunk.pointer("/choices/0") else {
            return;
        };
        if choice.get("finish_reason").is_some_and(Value::is_string) {
            self.finished = true;
        }
        let Some(delta) = choice.get("delta") else {
            return;
        };
        if let Some(content) = delta.get("content").and_then(Value::as_str) {
            self.content.push_str(content);
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.read_tool_call(call);
        }
    }

    /// A call comes in pieces: id and name first, its arguments bit by bit.
    fn read_tool_call(&mut self, piece: &Value) {
        let index = piece.get("index").and_then(Value::as_u64);
        let position = self
            .tool_calls
            .iter()
            .position(|call| call.get("index").and_then(Value::as_u64) == index);
        let Some(call) = position.and_then(|position| self.tool_calls.get_mut(position)) else {
            self.tool_calls.push(piece.clone());
            return;
        };
        let more = piece.pointer("/function/arguments").and_then(Value::as_str);
        if let (Some(Value::String(arguments)), Some(more)) =
            (call.pointer_mut("/function/arguments"), more)
        {
            arguments.push_str(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        ": keep-alive\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\r\n\r\n",
        "event: other\ndata:{\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",",
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,",
        "\"function\":{\"arguments\":\"}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{}}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn an_unfinished_reply_is_no_message() {
        let mut transcript = Transcript::default();
        transcript.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\ndata");
        assert!(!transcript.is_complete());
        assert!(transcript.is_mid_line());
        assert_eq!(transcript.message(), None);
    }

    #[test]
    fn a_reply_past_the_limit_is_not_kept_but_its_end_is_seen() {
        let mut transcript = Transcript::default();
        let line = format!("data: {}\n", "x".repeat(1 << 20));
        for _ in 0..9 {
            transcript.feed(line.as_bytes());
        }
        transcript.feed(b"data: [DONE]\n\n");
        assert!(transcript.is_done());
        assert_eq!(transcript.message(), None);
    }

    proptest! {
        #[test]
        fn a_stream_means_the_same_however_it_is_cut(cuts in proptest::collection::vec(1usize..40, 0..40)) {
            let mut transcript = Transcript::default();
            let mut rest = STREAM.as_bytes();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                transcript.feed(now);
                rest = later;
            }
            transcript.feed(rest);
            prop_assert!(transcript.is_done());
            prop_assert_eq!(transcript.message(), Some(json!({
                "role": "assistant", "content": "Hello",
                "tool_calls": [{"index": 0, "id": "c1", "type": "function",
                    "function": {"name": "f", "arguments": "{}"}}],
            })));
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut transcript = Transcript::default();
            transcript.feed(&bytes);
            transcript.message();
        }
    }
}
