//! JSON-RPC 1.0 messages as RFC 7047 §4 uses them.
//!
//! A message is read twice: once for what it is, its contents skipped, and once by whoever knows the type
//! of its contents. So the tables of a large switch never stand in memory as a tree of JSON values.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::OvsdbError;

/// A message from the server.
#[derive(Debug)]
pub(super) enum Message {
    /// The answer to our request of this number.
    Answer { id: u64, body: Bytes },
    /// A request of the server's, that we answer.
    Request {
        id: Value,
        method: Box<str>,
        params: Value,
    },
    /// Something that needs no answer.
    Notification(Notification),
}

/// Something that the server tells unasked.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) method: Box<str>,
    body: Bytes,
}

impl Notification {
    /// Reads the parameters as `T`.
    ///
    /// # Errors
    /// [`OvsdbError::Protocol`].
    pub(super) fn params<T: DeserializeOwned>(&self) -> Result<T, OvsdbError> {
        Ok(parse::<Params<T>>(&self.method, &self.body)?.params)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    id: Value,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Params<T> {
    params: T,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Content<T> {
    result: T,
}

/// # Errors
/// [`OvsdbError::Protocol`] if it is no message.
pub(super) fn read(body: Bytes) -> Result<Message, OvsdbError> {
    let head: Head<'_> = parse("a message", &body)?;
    let (id, method) = (head.id, head.method.map(|method| Box::from(&*method)));
    match (method, id) {
        (Some(method), Value::Null) => Ok(Message::Notification(Notification { method, body })),
        (Some(method), id) => {
            let Params { params } = parse(&method, &body)?;
            Ok(Message::Request { id, method, params })
        }
        (None, id) => {
            let number = id.as_u64();
            let number = number
                .ok_or_else(|| OvsdbError::Protocol(format!("it answered request {id}, which is none")));
            Ok(Message::Answer { id: number?, body })
        }
    }
}

/// Reads the result of an answer to `method`.
///
/// # Errors
/// [`OvsdbError::Refused`] if it is an error, [`OvsdbError::Protocol`] if it is something else.
pub(super) fn result<T: DeserializeOwned>(method: &'static str, body: &[u8]) -> Result<T, OvsdbError> {
    match parse::<Outcome>(method, body)?.error {
        Value::Null => Ok(parse::<Content<T>>(method, body)?.result),
        error => Err(OvsdbError::Refused {
            method,
            error: refusal(&error),
        }),
    }
}

/// Errors are a text, or `{"error": …, "details": …}`.
fn refusal(error: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (short, details) = (text(&error["error"]), text(&error["details"]));
    match (short, details) {
        (Some(short), Some(details)) => format!("{short} ({details})"),
        (Some(short), None) => short,
        (None, _) => text(error).unwrap_or_else(|| error.to_string()),
    }
}

fn parse<'a, T: Deserialize<'a>>(what: &str, body: &'a [u8]) -> Result<T, OvsdbError> {
    serde_json::from_slice(body)
        .map_err(|error| OvsdbError::Protocol(format!("{what} cannot be read: {error}")))
}

/// Writes a request.
///
/// # Errors
/// [`OvsdbError::Protocol`] if `params` are nothing that JSON can hold.
pub(super) fn request(id: u64, method: &str, params: &impl Serialize) -> Result<Vec<u8>, OvsdbError> {
    #[derive(Serialize)]
    struct Request<'a, P> {
        id: u64,
        method: &'a str,
        params: &'a P,
    }
    let request = Request { id, method, params };
    serde_json::to_vec(&request)
        .map_err(|error| OvsdbError::Protocol(format!("`{method}` cannot be written: {error}")))
}

/// Writes the answer to a request of the server's.
pub(super) fn answer(id: &Value, result: &Value, error: &Value) -> Vec<u8> {
    serde_json::json!({"id": id, "result": result, "error": error})
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(text: &'static str) -> Result<Message, OvsdbError> {
        read(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn messages_are_told_apart() {
        let answer = message(r#"{"result":[1,2],"id":7,"error":null}"#).unwrap();
        let Message::Answer { id: 7, body } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(result::<Vec<u8>>("x", &body).unwrap(), [1, 2]);
        let echo = message(r#"{"params":[],"id":"echo","method":"echo"}"#).unwrap();
        assert!(matches!(echo, Message::Request { id, method, .. } if id == "echo" && &*method == "echo"));
        let update = message(r#"{"id":null,"method":"update","params":["m",{}]}"#).unwrap();
        let Message::Notification(update) = update else {
            panic!("{update:?}")
        };
        assert_eq!(
            update.params::<(String, Value)>().unwrap(),
            ("m".to_owned(), json!({}))
        );
    }

    #[test]
    fn errors_are_refusals_in_one_line() {
        for (body, text) in [
            (
                r#"{"id":1,"result":null,"error":{"error":"unknown database","details":"X"}}"#,
                "OVSDB refused `monitor`: unknown database (X)",
            ),
            (
                r#"{"id":1,"result":null,"error":"unknown method"}"#,
                "OVSDB refused `monitor`: unknown method",
            ),
            (
                r#"{"id":1,"result":7,"error":null}"#,
                "what answers is no OVSDB server: monitor cannot be read",
            ),
        ] {
            let error = result::<String>("monitor", body.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for text in [
            r#"{"id":"x","result":1}"#,
            r#"{"id":}"#,
            "{}",
            r#"{"method":7,"id":null}"#,
        ] {
            assert!(message(text).is_err(), "{text}");
        }
    }
}
