//! A table of hosts and their racks, as people write it: two words a line. Pure: `topology` reads
//! the file.

use std::collections::BTreeMap;

use ids::{HostName, NameError, RackName};

/// Maximum number of lines: more hosts than any master serves.
const RACK_LINES_MAX: usize = 1_000_000;

/// Racks by host (Hadoop: the table of `net.topology.table.file.name`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RackTable(BTreeMap<HostName, RackName>);

/// An error in a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct RackTableError {
    /// The line, from 1.
    pub line: usize,
    /// The error.
    pub cause: RackLineError,
}

/// An error in a line of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RackLineError {
    /// It is not a host and a rack.
    #[error(
        "{words} words; a line is a host and its rack, like 'host-1 /room-1/rack-7', or a comment that begins with '#'"
    )]
    Words {
        /// Number of words in it.
        words: usize,
    },
    /// One of the words is not a valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An earlier line gives the host another rack.
    #[error("{host} stands in {before} by a line further up")]
    Twice {
        /// The host.
        host: HostName,
        /// Its rack in the earlier line.
        before: RackName,
    },
    /// There are too many lines.
    #[error("a table has {RACK_LINES_MAX} lines at most")]
    TooMany,
}

impl RackTable {
    /// Reads a table: each line has a host and its rack, separated by spaces; empty lines, and
    /// everything after a '#', are ignored.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, RackTableError> {
        let mut racks = BTreeMap::new();
        for (line, said) in (1..).zip(text.lines()) {
            read_line(said, line, &mut racks).map_err(|cause| RackTableError { line, cause })?;
        }
        Ok(Self(racks))
    }

    /// The rack of a host, if it is in the table.
    pub(crate) fn rack_of(&self, host: &HostName) -> Option<&RackName> {
        self.0.get(host)
    }

    /// Number of hosts in it.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn read_line(
    said: &str,
    line: usize,
    racks: &mut BTreeMap<HostName, RackName>,
) -> Result<(), RackLineError> {
    if line > RACK_LINES_MAX {
        return Err(RackLineError::TooMany);
    }
    let said = said.split('#').next().unwrap_or_default();
    let words: Vec<&str> = said.split_whitespace().collect();
    let (host, rack) = match words[..] {
        [] => return Ok(()),
        [host, rack] => (host.parse::<HostName>()?, rack.parse::<RackName>()?),
        _ => return Err(RackLineError::Words { words: words.len() }),
    };
    match racks.get(&host) {
        Some(before) if *before != rack => {
            Err(RackLineError::Twice { host, before: before.clone() })
        }
        _ => {
            racks.insert(host, rack);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_host_and_its_rack_on_each_line() {
        let text = "# racks\nhost-1 /room-1/rack-1\n\n\thost-2\t/rack-2  # behind the door\r\nhost-1 /room-1/rack-1\n";
        let table = RackTable::parse(text).unwrap();
        let rack = |host: &str| table.rack_of(&host.parse().unwrap()).map(ToString::to_string);
        assert_eq!(rack("host-1").as_deref(), Some("/room-1/rack-1"));
        assert_eq!(rack("host-2").as_deref(), Some("/rack-2"));
        assert_eq!((rack("host-3"), table.len()), (None, 2));
        assert_eq!(RackTable::parse("").unwrap().len(), 0);
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        for (text, line, what) in [
            ("host-1", 1, "1 words"),
            ("\nhost-1 /r extra", 2, "3 words"),
            ("host-1 rack", 1, "rack name"),
            ("a /r\n-b /r", 2, "host name"),
            ("a /r\n# fine\na /s", 3, "a stands in /r"),
        ] {
            let error = RackTable::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
