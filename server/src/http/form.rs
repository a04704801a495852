//! Deserializes structs from query parameters or a JSON object, with errors that tell missing keys from
//! malformed ones.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// Why a struct cannot be read.
#[derive(Debug)]
pub enum FormError {
    /// This required key is missing.
    Missing(&'static str),
    /// A value has the wrong form: a sentence.
    Invalid(String),
}

impl Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "`{name}` is missing"),
            Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for FormError {}

impl Error for FormError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Invalid(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// Reads a struct from query parameters, each of which may occur once.
pub fn from_parameters<'de, T: Deserialize<'de>>(parameters: Vec<(String, String)>) -> Result<T, FormError> {
    let parameters = parameters.into_iter().map(|(name, text)| (name.clone(), Parameter { name, text }));
    T::deserialize(MapDeserializer::new(parameters))
}

/// Reads a struct from a JSON object.
pub fn from_object<'de, T: Deserialize<'de>>(object: Map<String, Value>) -> Result<T, FormError> {
    T::deserialize(JsonValue(Value::Object(object)))
}

/// The value of a query parameter: a text, or a value parsed from it.
struct Parameter {
    name: String,
    text: String,
}

impl Parameter {
    fn parse<T: FromStr<Err: Display>>(&self) -> Result<T, FormError> {
        self.text.parse().map_err(|error| FormError::Invalid(format!("`{}`: {error}", self.name)))
    }
}

impl IntoDeserializer<'_, FormError> for Parameter {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse {
    ($($method:ident $visit:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
                visitor.$visit(self.parse()?)
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Parameter {
    type Error = FormError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_string(self.text)
    }

    /// An empty optional parameter counts as absent: clients write `from=` for a token that they lack.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        if self.text.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        visitor.visit_enum(self.text.into_deserializer())
    }

    parse! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct newtype_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// A JSON value, with the same kind of errors at any depth.
struct JsonValue(Value);

impl IntoDeserializer<'_, FormError> for JsonValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for JsonValue {
    type Error = FormError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.0 {
            Value::Object(object) => {
                let members = object.into_iter().map(|(key, value)| (key, Self(value)));
                MapDeserializer::new(members).deserialize_any(visitor)
            }
            Value::Array(items) => SeqDeserializer::new(items.into_iter().map(Self)).deserialize_any(visitor),
            scalar => scalar.deserialize_any(visitor).map_err(FormError::custom),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        self.0.deserialize_enum(name, variants, visitor).map_err(FormError::custom)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FormError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
