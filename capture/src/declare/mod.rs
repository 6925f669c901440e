//! What users declare, and the rules it has to keep.

mod declared;
mod expression;
mod new;
mod rules;

pub(crate) use declared::{Declared, key_mode, raw_packet_limit};
pub(crate) use expression::{CAPTURES, Expression};
pub use new::NewCapture;
pub(crate) use rules::{capability, capture_type_of};
