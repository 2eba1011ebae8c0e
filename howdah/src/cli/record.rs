//! Any MessagePack value as JSON, for people: journal records are decoded without their types. Bytes
//! become hexadecimal text, and keys of maps text, since JSON has no others.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Decodes one record.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, rmp_serde::decode::Error> {
    AnyValue.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes))
}

struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key_seed(Self)? {
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            values.insert(key, map.next_value_seed(Self)?);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum Record {
        Created { path: String, replication: Option<u8>, ratio: f64 },
        Counted(BTreeMap<u32, i8>),
        Started,
    }

    #[test]
    fn any_record_has_a_form_in_json() {
        let table = [
            (
                Record::Created { path: "/ü".to_owned(), replication: None, ratio: 0.5 },
                json!({"Created": {"path": "/ü", "replication": null, "ratio": 0.5}}),
            ),
            (Record::Counted([(7, -1)].into()), json!({"Counted": {"7": -1}})),
            (Record::Started, json!("Started")),
        ];
        for (record, expected) in table {
            assert_eq!(decode(&rmp_serde::to_vec_named(&record).unwrap()).unwrap(), expected);
        }
        assert_eq!(decode(&[0xc4, 2, 0xab, 1]).unwrap(), json!("ab01"), "bytes");
        assert!(decode(&[0xc4, 9, 1]).is_err(), "cut short");
    }
}
