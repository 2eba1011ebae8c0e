//! Schemas of types whose wire form is a checked text, for the interface's document.

/// Implements `JsonSchema` for a type whose wire form is a text with this pattern (in ECMA-262
/// syntax, as in JSON Schema).
#[macro_export]
macro_rules! text_schema {
    ($name:ident, $pattern:expr, $description:expr) => {
        impl $crate::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(
                _: &mut $crate::schemars::SchemaGenerator,
            ) -> $crate::schemars::Schema {
                $crate::schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": $description,
                })
            }
        }
    };
}
