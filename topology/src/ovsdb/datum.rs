//! What a column holds, RFC 7047 §5.1.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// One value: `<atom>`.
#[derive(Clone, Debug, PartialEq)]
pub enum Atom {
    /// An integer.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A text.
    String(Box<str>),
    /// Names a row.
    Uuid(Uuid),
    /// Names a row that is made in the same transaction, by the name given there.
    NamedUuid(Box<str>),
}

impl Atom {
    /// Names a row that is made in the same transaction.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::NamedUuid(name.into())
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The row it names, if it names one.
    #[must_use]
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(uuid) => Some(*uuid),
            _ => None,
        }
    }
}

/// The value of one column: `<value>`.
///
/// The wire writes a set of one as its element, so [`Datum::One`] may be either; [`Datum::atoms`]
/// reads both alike.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// One atom.
    One(Atom),
    /// None or several atoms, in no particular order.
    Set(Vec<Atom>),
    /// Pairs of key and value, in no particular order.
    Map(Vec<(Atom, Atom)>),
}

impl Datum {
    /// A set of `atoms`.
    pub fn set<A: Into<Atom>>(atoms: impl IntoIterator<Item = A>) -> Self {
        Self::Set(atoms.into_iter().map(Into::into).collect())
    }

    /// A map of `pairs`.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    /// The atoms of a set, or the one there is; none of a map.
    #[must_use]
    pub fn atoms(&self) -> &[Atom] {
        match self {
            Self::One(atom) => std::slice::from_ref(atom),
            Self::Set(atoms) => atoms,
            Self::Map(_) => &[],
        }
    }

    /// The pairs of a map; none of anything else.
    #[must_use]
    pub fn pairs(&self) -> &[(Atom, Atom)] {
        match self {
            Self::Map(pairs) => pairs,
            Self::One(_) | Self::Set(_) => &[],
        }
    }
}

impl From<i64> for Atom {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Atom {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Atom {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Atom {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Uuid> for Atom {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl<A: Into<Atom>> From<A> for Datum {
    fn from(atom: A) -> Self {
        Self::One(atom.into())
    }
}

impl Serialize for Atom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Real(number) => serializer.serialize_f64(*number),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::String(text) => serializer.serialize_str(text),
            Self::Uuid(uuid) => ("uuid", uuid.hyphenated().to_string()).serialize(serializer),
            Self::NamedUuid(name) => ("named-uuid", name).serialize(serializer),
        }
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tagged = match self {
            Self::One(atom) => return atom.serialize(serializer),
            Self::Set(_) | Self::Map(_) => serializer.serialize_tuple(2)?,
        };
        if let Self::Map(pairs) = self {
            tagged.serialize_element("map")?;
            tagged.serialize_element(pairs)?;
        } else {
            tagged.serialize_element("set")?;
            tagged.serialize_element(self.atoms())?;
        }
        tagged.end()
    }
}

impl<'de> Deserialize<'de> for Atom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Datum::deserialize(deserializer)? {
            Datum::One(atom) => Ok(atom),
            Datum::Set(_) | Datum::Map(_) => Err(D::Error::invalid_type(
                Unexpected::Other("a set or map"),
                &"one value",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Datum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DatumVisitor)
    }
}

struct DatumVisitor;

impl<'de> Visitor<'de> for DatumVisitor {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of RFC 7047 §5.1")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Datum, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Datum, E> {
        Ok(number.into())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Datum, E> {
        let signed = i64::try_from(number);
        let signed = signed.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self));
        signed.map(Datum::from)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Datum, E> {
        Ok(Datum::One(Atom::Real(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Datum, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Datum, A::Error> {
        fn content<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
            let content = seq.next_element()?;
            content.ok_or_else(|| A::Error::custom("a set, map or UUID without its content"))
        }
        let tag: String = content(&mut seq)?;
        Ok(match tag.as_str() {
            "uuid" => {
                let text: String = content(&mut seq)?;
                let uuid = Uuid::try_parse(&text);
                let uuid = uuid.map_err(|_| A::Error::invalid_value(Unexpected::Str(&text), &"a UUID"))?;
                uuid.into()
            }
            "named-uuid" => Datum::One(Atom::NamedUuid(content(&mut seq)?)),
            "set" => Datum::Set(content(&mut seq)?),
            "map" => Datum::Map(content(&mut seq)?),
            other => {
                return Err(A::Error::invalid_value(
                    Unexpected::Str(other),
                    &"uuid, named-uuid, set or map",
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Datum {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_form_of_the_wire() {
        let uuid = "0689e113-1b57-5949-9c58-8a46197ca490";
        assert_eq!(read("7"), 7.into());
        assert_eq!(read("true"), true.into());
        assert_eq!(read("1.5"), Datum::One(Atom::Real(1.5)));
        assert_eq!(read(r#""a""#), "a".into());
        assert_eq!(
            read(&format!(r#"["uuid","{uuid}"]"#)),
            Uuid::try_parse(uuid).unwrap().into()
        );
        assert_eq!(read(r#"["set",[]]"#), Datum::Set(vec![]));
        assert_eq!(read(r#"["set",[1,2]]"#), Datum::set([1, 2]));
        assert_eq!(read(r#"["map",[["a","b"]]]"#), Datum::map([("a", "b")]));
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for datum in [
            Datum::from(-7),
            "\"quoted\"".into(),
            false.into(),
            Uuid::nil().into(),
            Atom::named("row1").into(),
            Datum::set(["a", "b"]),
            Datum::set([Uuid::nil(), Uuid::max()]),
            Datum::map([("a", 1), ("b", 2)]),
        ] {
            let json = serde_json::to_string(&datum).unwrap();
            assert_eq!(read(&json), datum, "{json}");
        }
    }

    #[test]
    fn what_is_no_value_is_an_error() {
        for json in [
            "null",
            "{}",
            "[]",
            r#"["set"]"#,
            r#"["set",7]"#,
            r#"["map",[["a"]]]"#,
            r#"["uuid","x"]"#,
            r#"["set",[["set",[]]]]"#,
            r#"["bag",[]]"#,
            r#"["set",[],1]"#,
            "9223372036854775808",
        ] {
            assert!(serde_json::from_str::<Datum>(json).is_err(), "{json}");
        }
    }
}
