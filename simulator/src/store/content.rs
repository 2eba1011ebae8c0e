//! What files consist of here: units, each of which stands for some KiB of a real file. Lengths are
//! given in real bytes, so that the cores' limits apply; to compare units is to compare bytes.

/// The bytes that one unit stands for.
pub(crate) const UNIT_BYTES: u64 = 16 << 10;
/// The units of a block: a chunk that was cut off ends at the end of a block.
pub(crate) const BLOCK_UNITS: usize = 4;

/// The bytes of a file or chunk.
pub(crate) type Content = Vec<Unit>;

/// [`UNIT_BYTES`] bytes that occur nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit(u32);

impl Unit {
    /// The number that was given to [`fresh`] for these bytes.
    pub(crate) fn number(self) -> u32 {
        self.0 >> 8
    }
}

/// New bytes, different from those of every other `number`.
pub(crate) fn fresh(number: u32, n_units: usize) -> Content {
    (0..n_units as u32).map(|at| Unit(number << 8 | at)).collect()
}

/// A copy of `content` that differs in one unit.
pub(crate) fn spoilt(content: &[Unit], at: usize) -> Content {
    let mut content = content.to_vec();
    if let Some(unit) = content.get_mut(at) {
        unit.0 = !unit.0;
    }
    content
}

pub(crate) fn length(content: &[Unit]) -> u64 {
    content.len() as u64 * UNIT_BYTES
}

/// The number of units in this many bytes.
pub(crate) fn units(length: u64) -> usize {
    (length / UNIT_BYTES) as usize
}

/// Takes the place of the CRC32C: FNV-1a over the units.
pub(crate) fn checksum(content: &[Unit]) -> u32 {
    let mix = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    content.iter().flat_map(|unit| unit.0.to_le_bytes()).fold(0x811C_9DC5, mix)
}
