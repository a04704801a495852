//! Estimates, while JSON text arrives, the memory that it takes when it is parsed.
//!
//! A short object takes eighty times as many bytes in memory as in the text, so that a bound of bytes alone
//! bounds nothing. Counting needs no memory, and is right for all valid JSON. A parser stops at the first
//! byte that is not valid, so that what it has taken until then was counted.

#[cfg(test)]
mod tests;

/// The memory of an object with one entry: a node of a B-tree with room for eleven.
const OBJECT: usize = 672;
/// The memory of an array with one element: it has room for four.
const ARRAY: usize = 160;
/// The memory of any other value, with its key and what the allocator adds.
const VALUE: usize = 96;
/// The memory of an object or array whose text alone is kept.
const ITEM: usize = 100;
/// The memory of a byte of text: it is kept as it came, and parsed into strings of its own.
const BYTE: usize = 3;

/// What was counted in a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSize {
    /// The bytes.
    pub bytes: usize,
    /// The objects and arrays.
    pub containers: usize,
    /// How deeply objects and arrays are nested in each other.
    pub depth: usize,
    objects: usize,
    values: usize,
    open: usize,
    in_string: bool,
    is_escaped: bool,
}

impl JsonSize {
    /// Counts the next part of the text.
    pub fn read(&mut self, text: &[u8]) {
        self.bytes = self.bytes.saturating_add(text.len());
        for byte in text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = self.in_string,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.objects += usize::from(*byte == b'{');
                    self.containers += 1;
                    self.open += 1;
                    self.depth = self.depth.max(self.open);
                }
                b'}' | b']' => self.open = self.open.saturating_sub(1),
                b',' => self.values += 1,
                _ => {}
            }
        }
    }

    /// About how many bytes the text takes if its items are read one by one.
    pub fn memory_as_text(&self) -> usize {
        self.bytes.saturating_mul(BYTE).saturating_add(self.containers.saturating_mul(ITEM))
    }

    /// About how many bytes the text and what is parsed from it take.
    pub fn memory(&self) -> usize {
        let arrays = self.containers - self.objects;
        self.bytes
            .saturating_mul(BYTE)
            .saturating_add(self.objects.saturating_mul(OBJECT))
            .saturating_add(arrays.saturating_mul(ARRAY))
            .saturating_add(self.values.saturating_mul(VALUE))
    }
}
