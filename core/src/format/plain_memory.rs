//! The sections of a plain temporal memory: its single numbers, and its arrays in the order in which it lists them.

use htm_kernels::temporal_memory::TemporalMemoryParams;

use super::FormatError;
use super::image::{ImageReader, ImageWriter};
use crate::array::{Array, Element};
use crate::model::plain_memory::{ArraySource, ArrayVisitor, PlainMemory};

/// The section of its single numbers.
const SCALARS: u32 = 58;
/// The section of its first array.
const FIRST_ARRAY: u32 = 59;

/// Pushes array after array.
struct Writer<'image, 'a> {
    image: &'image mut ImageWriter<'a>,
    next: u32,
}

impl<'a> ArrayVisitor<'a> for Writer<'_, 'a> {
    fn visit<T: Element>(&mut self, _: &'static str, used: &'a [T], headroom: usize) {
        self.image.push(self.next, used, used.len() + headroom);
        self.next += 1;
    }
}

/// Takes array after array.
struct Reader<'image> {
    image: &'image mut ImageReader,
    next: u32,
}

impl ArraySource for Reader<'_> {
    fn take<T: Element>(&mut self, _: &'static str, used: usize) -> Result<Array<T>, FormatError> {
        self.next += 1;
        self.image.take_used(self.next - 1, used)
    }
}

pub(super) fn push<'a>(image: &mut ImageWriter<'a>, memory: &'a PlainMemory) {
    image.push(SCALARS, std::slice::from_ref(memory.scalars()), 1);
    memory.each_array(&mut Writer { image, next: FIRST_ARRAY });
}

pub(super) fn take(
    image: &mut ImageReader,
    params: TemporalMemoryParams,
) -> Result<PlainMemory, FormatError> {
    let scalars = image.take_record(SCALARS)?;
    PlainMemory::from_arrays(params, scalars, &mut Reader { image, next: FIRST_ARRAY })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::section::kind_of;
    use crate::model::plain_memory::ARRAYS;

    #[test]
    fn every_array_has_its_section() {
        for (id, (name, elements)) in (FIRST_ARRAY..).zip(ARRAYS) {
            let kind = kind_of(id);
            assert_eq!(kind.name, format!("plain_{name}"));
            assert_eq!(kind.elements, [elements]);
        }
    }
}
