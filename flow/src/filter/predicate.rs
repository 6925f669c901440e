//! Literals, and what is asked of one field.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use regex::Regex;

use super::values::Values;
use crate::flow::MacAddr;

/// A literal of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Int(i64),
    /// A decimal.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A string.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

/// What a field holds, borrowed where it can be.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue<'a> {
    /// A number.
    Int(i64),
    /// A decimal.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text; addresses in their canonical form.
    Text(Cow<'a, str>),
}

impl FieldValue<'_> {
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Int(int) => Cow::Owned(int.to_string()),
            Self::Float(float) => Cow::Owned(float.to_string()),
            Self::Bool(bool) => Cow::Borrowed(if *bool { "true" } else { "false" }),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "mixed comparisons only")]
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::Bool(_) => None,
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// Orders a field against a literal: numbers as numbers (also when one side is text that holds
    /// one), addresses by value, all else as text. `None` if they cannot be compared.
    fn compare(&self, value: &Value) -> Option<std::cmp::Ordering> {
        match (self, value) {
            (Self::Int(field), Value::Int(literal)) => Some(field.cmp(literal)),
            (Self::Bool(field), Value::Bool(literal)) => Some(field.cmp(literal)),
            (Self::Text(field), Value::Text(literal)) => Some(compare_text(field, literal)),
            (Self::Bool(_), Value::Text(literal)) => Some(self.text().as_ref().cmp(literal)),
            (Self::Bool(_), _) | (_, Value::Bool(_)) => None,
            (field, literal) => field.number()?.partial_cmp(&number_of(literal)?),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "mixed comparisons only")]
pub(super) fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Float(float) => Some(*float),
        Value::Bool(_) => None,
        Value::Text(text) => text.parse().ok(),
    }
}

fn compare_text(field: &str, literal: &str) -> std::cmp::Ordering {
    if field == literal {
        return std::cmp::Ordering::Equal;
    }
    // One address has several spellings: `FE80::1` and `fe80:0::1`, `AA-BB-…` and `aa:bb:…`.
    if let (Ok(a), Ok(b)) = (field.parse::<IpAddr>(), literal.parse::<IpAddr>()) {
        return a.cmp(&b);
    }
    if let (Some(a), Some(b)) = (MacAddr::parse(field), MacAddr::parse(literal)) {
        return a.cmp(&b);
    }
    field.cmp(literal)
}

/// A regular expression that must match the whole text, as Skydive's do.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// A sentence for the user: an anchor (`^`, `$`) is refused, since the pattern is anchored
    /// already, and so is what the regex crate refuses.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.starts_with('^') || (source.ends_with('$') && !source.ends_with("\\$")) {
            return Err("Regex are anchored by default, ^ and $ don't have to be provided".to_owned());
        }
        let regex = Regex::new(&format!("^(?:{source})$")).map_err(|e| e.to_string())?;
        Ok(Self {
            source: source.to_owned(),
            regex,
        })
    }

    /// What the user wrote.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Cidr {
    network: u32,
    mask: u32,
}

impl Ipv4Cidr {
    /// Parses `10.0.0.0/8`; an address alone is a /32.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let bits: u32 = bits.parse().ok().filter(|b| *b <= 32)?;
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        let address: Ipv4Addr = address.parse().ok()?;
        Some(Self {
            network: u32::from(address) & mask,
            mask,
        })
    }

    /// First and last address.
    #[must_use]
    pub fn bounds(&self) -> (Ipv4Addr, Ipv4Addr) {
        (
            Ipv4Addr::from(self.network),
            Ipv4Addr::from(self.network | !self.mask),
        )
    }

    /// True if `text` is an address, or a CIDR whose address is, in this network.
    #[must_use]
    pub fn contains_text(&self, text: &str) -> bool {
        let address = text.split('/').next().unwrap_or(text);
        address
            .parse::<Ipv4Addr>()
            .is_ok_and(|a| u32::from(a) & self.mask == self.network)
    }
}

/// What is asked of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Equal.
    Eq(Value),
    /// There, and not equal.
    Ne(Value),
    /// Not equal, or not there.
    Nee(Value),
    /// Less than.
    Lt(Value),
    /// Greater than.
    Gt(Value),
    /// At most.
    Lte(Value),
    /// At least.
    Gte(Value),
    /// Strictly between.
    Inside(Value, Value),
    /// From the first, included, to the second, excluded.
    Between(Value, Value),
    /// One of these.
    Within(Values),
    /// None of these, or not there.
    Without(Values),
    /// The whole text matches.
    Regex(Pattern),
    /// An address of this network.
    Ipv4Range(Ipv4Cidr),
    /// There.
    Exists,
    /// Not there.
    Absent,
}

impl Predicate {
    /// Tests a field that may hold no, one or several values. Positive predicates want any value to
    /// pass; negative ones (`Ne`, `Nee`, `Without`, `Absent`) want every value to.
    pub fn test<'a>(&self, values: impl IntoIterator<Item = FieldValue<'a>>) -> bool {
        let mut values = values.into_iter().peekable();
        match self {
            Self::Exists => values.next().is_some(),
            Self::Absent => values.next().is_none(),
            Self::Ne(_) => values.peek().is_some() && values.all(|v| self.test_one(&v)),
            Self::Nee(_) | Self::Without(_) => values.all(|v| self.test_one(&v)),
            _ => values.any(|v| self.test_one(&v)),
        }
    }

    fn test_one(&self, field: &FieldValue<'_>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let equal = |value: &Value| field.compare(value) == Some(Equal);
        let is = |value: &Value, wanted: &[std::cmp::Ordering]| {
            field
                .compare(value)
                .is_some_and(|ordering| wanted.contains(&ordering))
        };
        match self {
            Self::Eq(value) => equal(value),
            Self::Ne(value) | Self::Nee(value) => !equal(value),
            Self::Lt(value) => is(value, &[Less]),
            Self::Gt(value) => is(value, &[Greater]),
            Self::Lte(value) => is(value, &[Less, Equal]),
            Self::Gte(value) => is(value, &[Greater, Equal]),
            Self::Inside(low, high) => is(low, &[Greater]) && is(high, &[Less]),
            Self::Between(low, high) => is(low, &[Greater, Equal]) && is(high, &[Less]),
            Self::Within(values) => values.contain(field),
            Self::Without(values) => !values.contain(field),
            Self::Regex(pattern) => pattern.regex.is_match(&field.text()),
            Self::Ipv4Range(cidr) => cidr.contains_text(&field.text()),
            Self::Exists => true,
            Self::Absent => false,
        }
    }
}
