//! What the sequential oracle writes: all pairs of a part held as trees, then written as a whole, by nothing of the task
//! runtime's.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use mapreduce_protocol::{Codec, Failure, FailureKind, OutputFormat, OutputForms, TaskId};
use serde_json::Value;

use crate::api::{Datum, NamedOutputs, Pair, Visitor};

/// A key or a value: its text, and what it is made of.
pub(crate) struct Piece {
    /// None where there is nothing to write.
    text: Option<Vec<u8>>,
    tree: Tree,
}

/// What a key or value is made of.
enum Tree {
    Nothing,
    None,
    Bytes(Vec<u8>),
    Literal(String),
    Fields(&'static [&'static str], Vec<Self>),
}

impl Piece {
    /// Of a value of an author's type.
    pub(crate) fn of<D: Datum>(value: D::Ref<'_>) -> Self {
        let mut text = Vec::new();
        let has_text = D::write_text(value, &mut text);
        let mut builder = Builder::default();
        D::visit(value, &mut builder);
        let tree = builder.done.pop().unwrap_or(Tree::Nothing);
        Self { text: has_text.then_some(text), tree }
    }

    /// Of a command's key, or of its value, if it has one.
    pub(crate) fn of_bytes(bytes: Option<&[u8]>) -> Self {
        let tree = bytes.map_or(Tree::Nothing, |it| Tree::Bytes(it.to_vec()));
        Self { text: bytes.map(<[u8]>::to_vec), tree }
    }
}

/// All that a job writes, before compression.
pub(crate) struct OracleOutput {
    /// The parts, by their numbers.
    pub(crate) parts: Vec<Vec<u8>>,
    /// Named outputs, by their names and who wrote them: all maps as one.
    pub(crate) named: Vec<(Writer, Vec<u8>)>,
}

/// The name of an output, and who wrote it.
pub(crate) type Writer = (String, TaskId);

/// Named outputs under way.
pub(crate) struct NamedLists {
    /// Who writes now.
    pub(crate) task: TaskId,
    lists: BTreeMap<Writer, Vec<(Piece, Piece)>>,
    refused: Option<String>,
}

impl NamedLists {
    /// None yet, of `task`.
    pub(crate) fn new(task: TaskId) -> Self {
        Self { task, lists: BTreeMap::new(), refused: None }
    }

    /// All of them.
    pub(crate) fn written(self, forms: &OutputForms) -> Result<Vec<(Writer, Vec<u8>)>, Failure> {
        if let Some(name) = self.refused {
            return Err(refused(&format!("the name {name:?}")));
        }
        let written = |(key, pairs): (Writer, Vec<_>)| Ok((key, written(&pairs, forms)?));
        self.lists.into_iter().map(written).collect()
    }
}

impl NamedOutputs for NamedLists {
    fn pair(&mut self, name: &str, pair: &dyn Pair) {
        let is_fine = name.chars().all(|c| c.is_ascii_digit() || c.is_ascii_alphabetic());
        if !is_fine || name.is_empty() || name.len() > 64 || name == "part" {
            self.refused = Some(name.to_owned());
            return;
        }
        let list = self.lists.entry((name.to_owned(), self.task)).or_default();
        let [mut key, mut value] = [Vec::new(), Vec::new()];
        let has_text = [pair.key_text(&mut key), pair.value_text(&mut value)];
        let [mut of_key, mut of_value] = [Builder::default(), Builder::default()];
        pair.visit_key(&mut of_key);
        pair.visit_value(&mut of_value);
        let piece = |has_text: bool, text, mut builder: Builder| Piece {
            text: has_text.then_some(text),
            tree: builder.done.pop().unwrap_or(Tree::Nothing),
        };
        list.push((piece(has_text[0], key, of_key), piece(has_text[1], value, of_value)));
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<(&'static [&'static str], Vec<Tree>)>,
    done: Vec<Tree>,
}

impl Builder {
    fn add(&mut self, tree: Tree) {
        match self.open.last_mut() {
            Some((_, fields)) => fields.push(tree),
            None => self.done.push(tree),
        }
    }
}

impl Visitor for Builder {
    fn nothing(&mut self) {
        self.add(Tree::Nothing);
    }

    fn none(&mut self) {
        self.add(Tree::None);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.add(Tree::Bytes(bytes.to_vec()));
    }

    fn literal(&mut self, text: &str) {
        self.add(Tree::Literal(text.to_owned()));
    }

    fn begin(&mut self, names: &'static [&'static str]) {
        self.open.push((names, Vec::new()));
    }

    fn end(&mut self) {
        if let Some((names, fields)) = self.open.pop() {
            self.add(Tree::Fields(names, fields));
        }
    }
}

impl Tree {
    /// All leaves that have a field of their own, in their order.
    fn leaves(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::None => vec![Vec::new()],
            Self::Bytes(bytes) => vec![bytes.clone()],
            Self::Literal(text) => vec![text.clone().into_bytes()],
            Self::Fields(_, fields) => fields.iter().flat_map(Self::leaves).collect(),
        }
    }

    fn json(&self) -> Result<String, Failure> {
        Ok(match self {
            Self::Nothing | Self::None => "null".to_owned(),
            Self::Literal(text) => text.clone(),
            Self::Bytes(bytes) => match String::from_utf8(bytes.clone()) {
                Ok(text) => Value::String(text).to_string(),
                Err(_) => return Err(refused("text that is no UTF-8 in JSON")),
            },
            Self::Fields(names, fields) => {
                let fields = fields.iter().map(Self::json).collect::<Result<Vec<_>, _>>()?;
                if names.is_empty() {
                    format!("[{}]", fields.join(","))
                } else {
                    let named = names.iter().zip(fields);
                    let named: Vec<_> = named.map(|(name, it)| format!("{name:?}:{it}")).collect();
                    format!("{{{}}}", named.join(","))
                }
            }
        })
    }
}

/// The bytes of a part before compression.
pub(crate) fn written(records: &[(Piece, Piece)], forms: &OutputForms) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    for (key, value) in records {
        let has_both = key.text.is_some() && value.text.is_some();
        let [key_text, value_text] =
            [key, value].map(|piece| piece.text.clone().unwrap_or_default());
        let line = |separator: &str| {
            let between = if has_both { separator } else { "" };
            [&key_text, between.as_bytes(), &value_text, b"\n"].concat()
        };
        let record = match &forms.format {
            OutputFormat::Null => Vec::new(),
            OutputFormat::Text => line("\t"),
            OutputFormat::KeyValue { separator } => line(separator),
            OutputFormat::FixedLength { bytes } => {
                let record = [key_text, value_text].concat();
                if record.len() != *bytes as usize {
                    return Err(refused("a record of another length than 'fixed-length' says"));
                }
                record
            }
            OutputFormat::Csv { delimiter } => {
                let fields = [key.tree.leaves(), value.tree.leaves()].concat();
                csv(&fields, *delimiter)
            }
            OutputFormat::JsonLines => {
                let line = match (&key.tree, &value.tree) {
                    (Tree::Nothing, Tree::Nothing) => "null".to_owned(),
                    (key, Tree::Nothing) => key.json()?,
                    (Tree::Nothing, value) => value.json()?,
                    (key, value) => {
                        format!("{{\"key\":{},\"value\":{}}}", key.json()?, value.json()?)
                    }
                };
                format!("{line}\n").into_bytes()
            }
        };
        all.extend(record);
    }
    Ok(all)
}

fn csv(fields: &[Vec<u8>], delimiter: u8) -> Vec<u8> {
    let quoted = |field: &Vec<u8>| {
        let is_special = |byte: &u8| [b'"', b'\r', b'\n', delimiter].contains(byte);
        // A line without anything would be no record.
        if field.iter().any(is_special) || fields.len() == 1 && field.is_empty() {
            let doubled = field.iter().flat_map(|byte| match byte {
                b'"' => vec![b'"', b'"'],
                byte => vec![*byte],
            });
            std::iter::once(b'"').chain(doubled).chain([b'"']).collect()
        } else {
            field.clone()
        }
    };
    let fields: Vec<Vec<u8>> = match fields {
        [] => vec![b"\"\"".to_vec()],
        fields => fields.iter().map(quoted).collect(),
    };
    [fields.join(&delimiter), b"\n".to_vec()].concat()
}

fn refused(what: &str) -> Failure {
    Failure { kind: FailureKind::BadJob, message: format!("the output can't have {what}") }
}

/// A part's bytes as the job wants them compressed.
pub(crate) fn compressed(bytes: &[u8], forms: &OutputForms) -> io::Result<Vec<u8>> {
    match forms.compression.codec() {
        None => Ok(bytes.to_vec()),
        Some(Codec::Gzip) => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            out.write_all(bytes)?;
            out.finish()
        }
        Some(Codec::Bzip2) => {
            let mut out = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
            out.write_all(bytes)?;
            out.finish()
        }
        Some(Codec::Zstd) => {
            let mut out = zstd::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
            out.include_checksum(true)?;
            out.write_all(bytes)?;
            out.finish()
        }
        Some(Codec::Lz4) => {
            let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
            let mut out = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            out.write_all(bytes)?;
            out.finish().map_err(io::Error::other)
        }
        Some(Codec::Snappy) => {
            let mut out = snap::write::FrameEncoder::new(Vec::new());
            out.write_all(bytes)?;
            out.into_inner().map_err(io::Error::other)
        }
    }
}
