//! Texts that many flows share: names of layers, nodes, captures.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that many flows share. It costs its holder 16 bytes.
///
/// Each flow that leaves the table takes four of them along, and its store lets go of them. Counting that took half of
/// the time in which a flow is copied out of the table, and most of that in which it is let go; so the texts that come
/// back again and again are [`Text::lasting`], and nobody counts them.
#[derive(Clone)]
pub struct Text(Memory);

#[derive(Clone)]
enum Memory {
    /// For as long as the process runs. The pointer to a pointer is half as long as one to a `str`.
    Lasting(&'static &'static str),
    Counted(Arc<Box<str>>),
}

/// Texts that stay, at most: those of all captures, nodes and protocols that a process comes to see, unless
/// somebody makes them up.
const MOST_LASTING: usize = 16_384;
/// Their length in bytes, at most; so all together are 4 MiB.
const LONGEST_LASTING: usize = 256;

static LASTING: LazyLock<Mutex<HashMap<&'static str, &'static &'static str>>> = LazyLock::new(Mutex::default);

static EMPTY: &str = "";

impl Text {
    /// `text`, made to last as long as the process, if it is not too long and there are not too many of
    /// these; else counted as any other.
    #[must_use]
    pub fn lasting(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let mut lasting = LASTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lasting.get(text) {
            return Self(Memory::Lasting(known));
        }
        if text.len() > LONGEST_LASTING || lasting.len() >= MOST_LASTING {
            return Self::from(text);
        }
        let text: &'static str = Box::leak(text.into());
        let pointer: &'static &'static str = Box::leak(Box::new(text));
        lasting.insert(text, pointer);
        Self(Memory::Lasting(pointer))
    }

    /// True if both are in the same place in memory: then they are equal. Equal ones need not be.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq::<str>(&**self, &**other)
    }
}

impl Default for Text {
    /// The empty one.
    fn default() -> Self {
        Self(Memory::Lasting(&EMPTY))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Memory::Lasting(text) => text,
            Memory::Counted(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Memory::Counted(Arc::new(text.into())))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl Eq for Text {}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// What is read is what somebody configured: it lasts.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::lasting(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_there_once() {
        let (one, two) = (Text::lasting("Ethernet/ARP"), Text::lasting("Ethernet/ARP"));
        assert!(one.is_same(&two));
        assert!(!one.is_same(&Text::from("Ethernet/ARP")));
        assert_eq!(one, Text::from("Ethernet/ARP"));
        assert_ne!(one, Text::lasting("ARP"));
        assert!(Text::lasting("").is_same(&Text::default()));
    }

    #[test]
    fn what_is_too_long_to_last_is_counted() {
        let long = "x".repeat(LONGEST_LASTING + 1);
        let (one, two) = (Text::lasting(&long), Text::lasting(&long));
        assert!(!one.is_same(&two));
        assert_eq!((&*one, one.clone()), (long.as_str(), two));
        let fits = &long[1..];
        assert!(Text::lasting(fits).is_same(&Text::lasting(fits)));
    }

    #[test]
    fn it_is_two_words_long() {
        assert_eq!(size_of::<Text>(), 2 * size_of::<usize>());
    }
}
