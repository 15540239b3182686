//! Small words for schemas, so that a shape reads like a line of the contract.

use serde_json::Value;
use utoipa::openapi::{
    Ref, RefOr, Schema,
    schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type},
};

/// A schema, or where one stands.
pub(super) type Shape = RefOr<Schema>;

fn typed(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

fn or_null(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null]))
}

/// What stands under `components/schemas`.
pub(super) fn named(name: &str) -> Shape {
    Ref::from_schema_name(name).into()
}

/// What stands there, or `null`.
pub(super) fn named_or_null(name: &str) -> Shape {
    OneOfBuilder::new().item(Ref::from_schema_name(name)).item(typed(Type::Null)).into()
}

pub(super) fn string(text: &str) -> Shape {
    typed(Type::String).description(Some(text)).into()
}

pub(super) fn string_or_null(text: &str) -> Shape {
    or_null(Type::String).description(Some(text)).into()
}

/// A string of `min` to `max` characters by a pattern; the pattern's characters are ASCII, so that they are bytes too.
pub(super) fn pattern(pattern: &str, min: usize, max: usize, text: &str) -> Shape {
    let string = typed(Type::String).pattern(Some(pattern)).min_length(Some(min)).max_length(Some(max));
    string.description(Some(text)).into()
}

/// A line of text of at most `max_bytes`, or `null`: no more characters than bytes, and no control characters.
pub(super) fn line_or_null(max_bytes: usize) -> Shape {
    let text = format!("At most {max_bytes} bytes of UTF-8, without control characters. \"\" is null.");
    let line = or_null(Type::String).pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*$")).max_length(Some(max_bytes));
    line.description(Some(text)).into()
}

/// One of these words.
pub(super) fn word(words: &[&str]) -> Shape {
    typed(Type::String).enum_values(Some(words.iter().map(|w| Value::from(*w)))).into()
}

/// One of these words, or `null`.
pub(super) fn word_or_null(words: &[&str]) -> Shape {
    let words = words.iter().map(|w| Value::from(*w)).chain([Value::Null]);
    or_null(Type::String).enum_values(Some(words)).into()
}

/// An integer from `min` to `max`.
pub(super) fn integer(min: u64, max: u64, text: &str) -> Shape {
    typed(Type::Integer).minimum(Some(min)).maximum(Some(max)).description(Some(text)).into()
}

/// An integer from `min` to `max`, or `null`.
pub(super) fn integer_or_null(min: u64, max: u64, text: &str) -> Shape {
    or_null(Type::Integer).minimum(Some(min)).maximum(Some(max)).description(Some(text)).into()
}

pub(super) fn boolean(text: &str) -> Shape {
    typed(Type::Boolean).description(Some(text)).into()
}

pub(super) fn list(of: Shape) -> Shape {
    ArrayBuilder::new().items(of).into()
}

/// At most `max` of them.
pub(super) fn list_of_at_most(max: usize, of: Shape) -> Shape {
    ArrayBuilder::new().items(of).max_items(Some(max)).into()
}

/// Any object.
pub(super) fn free(text: &str) -> Shape {
    typed(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true))).description(Some(text)).into()
}

/// Any object of at most `max_bytes`, or `null`.
pub(super) fn free_or_null(max_bytes: usize) -> Shape {
    let text = format!("At most {max_bytes} bytes of compact JSON, nested at most 100 deep.");
    let object = or_null(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true)));
    object.description(Some(text)).into()
}

/// An object whose members all have this shape.
pub(super) fn map(of: Shape, text: &str) -> Shape {
    typed(Type::Object).additional_properties(Some(AdditionalProperties::from(of))).description(Some(text)).into()
}

/// An object of an answer: every member is always there, and there may be more in a later version.
pub(super) fn answer<const N: usize>(text: &str, members: [(&str, Shape); N]) -> Shape {
    members
        .into_iter()
        .fold(typed(Type::Object).description(Some(text)), |o, (n, s)| o.property(n, s).required(n))
        .into()
}

/// An object of a request: members that are not named here are refused.
pub(super) fn request<const N: usize>(text: &str, required: &[&str], members: [(&str, Shape); N]) -> Shape {
    let object =
        typed(Type::Object).description(Some(text)).additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let object = members.into_iter().fold(object, |o, (n, s)| o.property(n, s));
    required.iter().fold(object, |o, n| o.required(*n)).into()
}

/// One of these shapes.
pub(super) fn one_of<const N: usize>(text: &str, shapes: [Shape; N]) -> Shape {
    shapes.into_iter().fold(OneOfBuilder::new().description(Some(text)), OneOfBuilder::item).into()
}

/// Nothing.
pub(super) fn null() -> Shape {
    typed(Type::Null).into()
}

/// Exactly this word.
pub(super) fn exactly(text: &str) -> Shape {
    word(&[text])
}
