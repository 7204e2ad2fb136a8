//! Deserializes typed values from a tree, with serde.
//!
//! As strict as the API server: a plain `80` is not a string, and a quoted `"80"` is not a number. Every error has the
//! position of the node or key that caused it.

use std::fmt;
use std::sync::Arc;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use thiserror::Error;

use super::scalar::Meaning;
use super::{MapEntry, Node, Span, Value};

/// Deserializes a value of type `T` from a tree.
///
/// # Errors
/// The first node that does not match.
pub fn decode<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, DecodeError> {
    T::deserialize(node).map_err(|error| error.at(node.head()))
}

/// A node does not match its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fault}")]
pub struct DecodeError {
    /// The position; always present in errors returned by [`decode`].
    pub span: Option<Span>,
    /// The reason.
    pub fault: DecodeFault,
}

/// Why a node does not match its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeFault {
    /// A value of another type or out of range.
    #[error("expected {expected}, found {found}")]
    Type {
        /// The value found.
        found: String,
        /// The value expected.
        expected: String,
    },
    /// An unknown key.
    #[error("unknown field `{field}`")]
    UnknownField {
        /// The key.
        field: String,
        /// The known keys.
        known: &'static [&'static str],
    },
    /// An unknown word for an enum.
    #[error("unknown value `{variant}`")]
    UnknownVariant {
        /// The word.
        variant: String,
        /// The known words.
        known: &'static [&'static str],
    },
    /// A required key.
    #[error("missing field `{field}`")]
    MissingField {
        /// The key.
        field: &'static str,
    },
    /// An error raised by the type itself.
    #[error("{0}")]
    Other(String),
}

impl DecodeError {
    /// The error of the innermost node is kept.
    fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
}

impl From<DecodeFault> for DecodeError {
    fn from(fault: DecodeFault) -> Self {
        Self { span: None, fault }
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        DecodeFault::Other(message.to_string()).into()
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        DecodeFault::Type { found: found_in_words(unexpected), expected: expected_in_words(expected) }.into()
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        DecodeFault::UnknownField { field: field.to_owned(), known }.into()
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        DecodeFault::UnknownVariant { variant: variant.to_owned(), known }.into()
    }

    fn missing_field(field: &'static str) -> Self {
        DecodeFault::MissingField { field }.into()
    }
}

/// Names of Rust types, as understood by manifest authors.
fn expected_in_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" => "a number from 0 to 255",
        "u16" => "a number from 0 to 65535",
        "u32" | "u64" => "a number, 0 or more",
        "i32" | "i64" => "an integer",
        "a sequence" => "a list",
        "a map" => "a mapping",
        text if text.starts_with("struct ") => "a mapping",
        text => text,
    }
    .to_owned()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "serde's enum; its own words for the rest are good ones")]
fn found_in_words(unexpected: Unexpected<'_>) -> String {
    const CHARACTERS_MAX: usize = 40;
    match unexpected {
        Unexpected::Str(text) if text.chars().count() > CHARACTERS_MAX => {
            format!("string {:?}…", text.chars().take(CHARACTERS_MAX).collect::<String>())
        }
        Unexpected::Unit => "nothing (null)".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        other => other.to_string(),
    }
}

impl Node {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Sequence(_) => Unexpected::Seq,
            Value::Mapping(_) => Unexpected::Map,
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => Unexpected::Unit,
                Meaning::Bool(value) => Unexpected::Bool(value),
                Meaning::Signed(value) => Unexpected::Signed(value),
                Meaning::Unsigned(value) => Unexpected::Unsigned(value),
                Meaning::Float(value) => Unexpected::Float(value),
                Meaning::Text(text) => Unexpected::Str(text),
            },
        }
    }

    fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.value {
            Value::Sequence(items) => visitor.visit_seq(Items(items.iter())),
            Value::Mapping(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => visitor.visit_unit(),
                Meaning::Bool(value) => visitor.visit_bool(value),
                Meaning::Signed(value) => visitor.visit_i64(value),
                Meaning::Unsigned(value) => visitor.visit_u64(value),
                Meaning::Float(value) => visitor.visit_f64(value),
                Meaning::Text(text) => visitor.visit_borrowed_str(text),
            },
        };
        result.map_err(|error| error.at(self.head()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Word(self)).map_err(|error| error.at(self.head()))
    }

    /// serde's derived code also accepts a list for a struct, field by field; a manifest must have a mapping.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if let Value::Sequence(_) = self.value {
            return Err(<DecodeError as de::Error>::invalid_type(Unexpected::Seq, &visitor).at(self.head()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(item) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|error| error.at(item.head()))
    }
}

struct Entries<'de> {
    rest: indexmap::map::Iter<'de, Arc<str>, MapEntry>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, entry)) = self.rest.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        let key = BorrowedStrDeserializer::<DecodeError>::new(key);
        seed.deserialize(key).map(Some).map_err(|error| error.at(entry.key_span.clone()))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let value =
            self.value.take().ok_or_else(|| <DecodeError as de::Error>::custom("a value before its key"))?;
        seed.deserialize(value).map_err(|error| error.at(value.head()))
    }
}

/// A unit variant, the only enum form in manifests.
struct Word<'de>(&'de Node);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        let Unexpected::Str(text) = self.0.unexpected() else {
            return Err(de::Error::invalid_type(self.0.unexpected(), &"a word"));
        };
        let variant: de::value::StrDeserializer<'_, DecodeError> = text.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, DecodeError> {
        Err(de::Error::invalid_type(self.0.unexpected(), &"a mapping with one key"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(de::Error::invalid_type(self.0.unexpected(), &"a mapping with one key"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(de::Error::invalid_type(self.0.unexpected(), &"a mapping with one key"))
    }
}
