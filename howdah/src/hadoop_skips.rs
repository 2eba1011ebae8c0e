//! Hadoop's properties of records that may be left out (`SkipBadRecords`), and how many that are here. `hadoop_properties` asks.

use mapreduce_protocol::SKIP_RECORDS_MAX;

use crate::hadoop_line::HadoopLineError;
use crate::hadoop_properties::wrong;

/// Records of maps.
pub(crate) const SKIP_RECORDS: &str = "mapreduce.map.skip.maxrecords";
/// Keys of reduces.
pub(crate) const SKIP_GROUPS: &str = "mapreduce.reduce.skip.maxgroups";

/// How many records and keys the job may leave out together; `take` gives the values of properties. In Hadoop the two are
/// lengths of ranges around a record that may be lost with it, often as many as there are.
pub(crate) fn allowed(
    mut take: impl FnMut(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) -> Result<Option<u32>, HadoopLineError> {
    let mut asked: Option<u64> = None;
    for name in [SKIP_RECORDS, SKIP_GROUPS] {
        if let Some(value) = take(name) {
            let n: u64 = value.parse().map_err(|_| wrong(name, &value, "write a number"))?;
            asked = Some(asked.unwrap_or(0).saturating_add(n));
        }
    }
    let Some(asked) = asked else { return Ok(None) };
    let allowed = u32::try_from(asked).unwrap_or(u32::MAX).min(SKIP_RECORDS_MAX);
    if u64::from(allowed) < asked {
        warnings.push(format!("the job may leave out {SKIP_RECORDS_MAX} records, not more"));
    }
    Ok(Some(allowed).filter(|n| *n > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_out_is_both_kinds_together() {
        let of = |records: &str, groups: &str| {
            let mut warnings = Vec::new();
            let take = |name: &str| match name {
                SKIP_RECORDS => Some(records.to_owned()),
                _ => Some(groups.to_owned()).filter(|it| !it.is_empty()),
            };
            allowed(take, &mut warnings).map(|n| (n, warnings.len()))
        };
        assert_eq!(of("3", "4").unwrap(), (Some(7), 0));
        assert_eq!(of("5", "").unwrap(), (Some(5), 0));
        assert_eq!(of("0", "0").unwrap(), (None, 0));
        assert_eq!(of("9223372036854775807", "1").unwrap(), (Some(1000), 1));
        assert!(of("all", "1").unwrap_err().to_string().contains("a number"));
    }
}
