//! Gremlin over the live table and the store.

use flowtap_api::{AnswerForm, QueryRunner};
use flowtap_flow::pcap::{Resolution, to_pcap};
use flowtap_flow::query::Cancel;
use flowtap_flow::timestamp::Timestamp;
use flowtap_gremlin::{Engine, ErrorKind, NOT_PACKETS, QueryError};

/// An engine whose answers are written as HTTP wants them.
pub(super) struct Queries(pub(super) Engine);

impl QueryRunner for Queries {
    fn run(&self, gremlin: &str, form: AnswerForm, cancel: &Cancel) -> Result<Vec<u8>, QueryError> {
        let answer = self.0.run(gremlin, Timestamp::now(), cancel)?;
        match form {
            AnswerForm::Json => {
                let mut text = Vec::new();
                answer
                    .write_json(&mut text)
                    .map_err(|error| cannot(error.to_string()))?;
                Ok(text)
            }
            AnswerForm::Dot => answer.to_dot().map(String::into_bytes),
            AnswerForm::Pcap => {
                let packets = answer.into_packets().ok_or_else(|| cannot(NOT_PACKETS))?;
                // Microseconds: Skydive's clients may know nothing else, and can't ask for more.
                to_pcap(&packets, Resolution::Micros).map_err(|error| cannot(error.to_string()))
            }
        }
    }
}

/// The answer is there, but not in the form that was asked for.
fn cannot(message: impl Into<String>) -> QueryError {
    QueryError {
        kind: ErrorKind::Format,
        column: None,
        message: message.into(),
    }
}
