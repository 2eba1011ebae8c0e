//! How types whose wire form is a checked text are described, to the readers of an interface's document.

/// Implements `JsonSchema` for a type that is written as a text of this pattern (of ECMA-262, as JSON Schema has them).
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
