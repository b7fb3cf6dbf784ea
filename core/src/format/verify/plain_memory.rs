//! What must hold in a plain temporal memory.
//!
//! Expects the shapes that `PlainMemory::from_arrays` has checked: each array has at least the elements that the
//! numbers say are in use. Everything else is bounded here before it is used.

use htm_kernels::backtracking_tm::CELL_STRIDE;
use htm_kernels::temporal_memory::TemporalMemoryParams;
use htm_kernels::temporal_memory::blocks::{Blocks, Links, NO_BLOCK, NO_CLASS, SIZE_CLASSES, block_len};
use htm_kernels::temporal_memory::postings::posting;
use htm_kernels::temporal_memory::state::{NO_SEGMENT, PostingList, SegmentInfo, SegmentMatch};
use htm_kernels::word;

use super::{FormatError, ensure};
use crate::model::plain_memory::PlainMemory;

/// Steps and segments that no memory reaches.
const MAX_COUNTER: u64 = 1 << 62;

/// Checks ranges, and everything that is stored twice: chains, blocks, postings with the synapses they stand for, and
/// the active and matching segments with the counts they come from.
pub(super) fn check(memory: &PlainMemory) -> Result<(), FormatError> {
    ensure(memory.scalars.random.is_valid(), || {
        "the generator's position lies outside its state".to_owned()
    })?;
    let counters = [memory.scalars.iteration, memory.scalars.next_ordinal];
    let are_possible = counters.iter().all(|&counter| counter < MAX_COUNTER);
    ensure(are_possible, || format!("no memory lives as long as {counters:?} say"))?;
    cells(memory)?;
    segments(memory)?;
    chains(memory)?;
    synapse_blocks(memory)?;
    synapses(memory)?;
    posting_blocks(memory)?;
    postings(memory)?;
    matches(memory)
}

/// The slots made so far.
fn slots(memory: &PlainMemory) -> &[SegmentInfo] {
    &memory.segments[..memory.scalars.slot_count as usize]
}

/// The segments, each with its slot.
fn used(memory: &PlainMemory) -> impl Iterator<Item = (u32, &SegmentInfo)> {
    (0..).zip(slots(memory)).filter(|(_, info)| info.is_used != 0)
}

fn is_cell(params: &TemporalMemoryParams, cell: u16) -> bool {
    let cell = usize::from(cell);
    cell / CELL_STRIDE < params.columns && cell % CELL_STRIDE < params.cells_per_column
}

fn cells(memory: &PlainMemory) -> Result<(), FormatError> {
    let mask = memory.params.column_mask();
    let are_inside = memory.active_cells.iter().all(|cells| cells & !mask == 0);
    ensure(are_inside, || "an active cell lies outside its column".to_owned())?;
    let mut both = memory.active_cells.iter().zip(&memory.winner_cells[..]);
    ensure(both.all(|(active, winners)| winners & !active == 0), || "a winner cell is not active".to_owned())
}

fn segments(memory: &PlainMemory) -> Result<(), FormatError> {
    let (params, scalars) = (&memory.params, &memory.scalars);
    let free = SegmentInfo {
        ordinal: 0,
        last_used_iteration: 0,
        synapse_start: 0,
        next_in_chain: 0,
        cell: 0,
        synapse_count: 0,
        synapse_class: NO_CLASS,
        is_used: 0,
        zero: [0; 2],
    };
    for (slot, info) in slots(memory).iter().enumerate() {
        let is_sound = if info.is_used == 0 {
            SegmentInfo { next_in_chain: 0, ..*info } == free
        } else {
            info.is_used == 1
                && info.zero == [0; 2]
                && is_cell(params, info.cell)
                && info.ordinal < scalars.next_ordinal
                && info.last_used_iteration <= scalars.iteration
                && usize::from(info.synapse_class) < SIZE_CLASSES
                && (1..=params.max_synapses_per_segment).contains(&info.synapse_count.into())
                && usize::from(info.synapse_count) <= block_len(info.synapse_class)
        };
        ensure(is_sound, || format!("slot {slot} has {info:?}"))?;
    }
    let (mut count, mut synapses) = (0u32, 0u64);
    let mut ordinals = Vec::new();
    for (_, info) in used(memory) {
        count += 1;
        synapses += u64::from(info.synapse_count);
        ordinals.push(info.ordinal);
    }
    ordinals.sort_unstable();
    ensure(ordinals.is_sorted_by(|a, b| a < b), || "two segments have the same ordinal".to_owned())?;
    let is_right = count == scalars.segment_count && synapses == u64::from(scalars.synapse_count);
    let found = (scalars.segment_count, scalars.synapse_count);
    ensure(is_right, || format!("it counts {found:?} segments and synapses where {count}, {synapses} are"))
}

/// Every segment is in its column's chain, every free slot in that of free slots, once.
fn chains(memory: &PlainMemory) -> Result<(), FormatError> {
    let mut is_seen = vec![false; slots(memory).len()];
    for (column, &first) in memory.column_segments.iter().enumerate() {
        let mut counts = [0usize; CELL_STRIDE];
        let belongs = |info: &SegmentInfo| {
            let count = &mut counts[usize::from(info.cell) % CELL_STRIDE];
            *count += 1;
            let is_right = info.is_used != 0 && usize::from(info.cell) / CELL_STRIDE == column;
            is_right && *count <= memory.params.max_segments_per_cell
        };
        let is_chain = is_chain(memory, &mut is_seen, first, belongs);
        ensure(is_chain, || format!("the segments of column {column} are no chain"))?;
    }
    let is_chain = is_chain(memory, &mut is_seen, memory.scalars.free_slot, |info| info.is_used == 0);
    ensure(is_chain, || "the free slots are no chain".to_owned())?;
    let are_all = is_seen.iter().all(|&is_seen| is_seen);
    ensure(are_all, || "a slot is in no chain".to_owned())
}

/// Whether the chain ends without a slot that does not belong to it or was seen before.
fn is_chain(
    memory: &PlainMemory,
    is_seen: &mut [bool],
    first: u32,
    mut belongs: impl FnMut(&SegmentInfo) -> bool,
) -> bool {
    let mut next = first;
    while next != NO_SEGMENT {
        let Some(info) = slots(memory).get(next as usize).filter(|info| belongs(info)) else { return false };
        if std::mem::replace(&mut is_seen[next as usize], true) {
            return false;
        }
        next = info.next_in_chain;
    }
    true
}

fn synapse_blocks(memory: &PlainMemory) -> Result<(), FormatError> {
    let lists = used(memory).map(|(_, info)| (info.synapse_start, info.synapse_class));
    tile(&memory.scalars.synapse_blocks, lists.collect(), &memory.presynaptic_cells[..], "synapses")
}

fn posting_blocks(memory: &PlainMemory) -> Result<(), FormatError> {
    for (column, list) in memory.posting_lists.iter().enumerate() {
        let has_block = usize::from(list.class) < SIZE_CLASSES
            && list.zero == [0; 3]
            && list.count as usize <= block_len(list.class);
        // One without a block leads nowhere: no tile below would tell that it starts outside.
        let is_right = has_block || *list == PostingList::EMPTY;
        ensure(is_right, || format!("the postings of column {column} have {list:?}"))?;
    }
    let lists = memory.posting_lists.iter().filter(|list| list.class != NO_CLASS);
    let lists = lists.map(|list| (list.start, list.class)).collect();
    tile(&memory.scalars.posting_blocks, lists, &memory.postings[..], "postings")
}

/// Blocks in use and free ones lie side by side and fill what was handed out.
fn tile<L: Links + ?Sized>(
    blocks: &Blocks,
    mut owned: Vec<(u32, u8)>,
    array: &L,
    what: &str,
) -> Result<(), FormatError> {
    for (class, &head) in (0..).zip(&blocks.free) {
        let mut free = head;
        while free != NO_BLOCK {
            let is_inside = u64::from(free) + block_len(class) as u64 <= u64::from(blocks.used);
            // No block is shorter than 8.
            let is_possible = is_inside && owned.len() <= blocks.used as usize / 8;
            ensure(is_possible, || format!("the free blocks of {what} lead outside or in a circle"))?;
            owned.push((free, class));
            free = array.link(free);
        }
    }
    owned.sort_unstable();
    let end = owned.iter().try_fold(0u64, |end, &(start, class)| {
        (u64::from(start) == end).then(|| end + block_len(class) as u64)
    });
    ensure(end == Some(blocks.used.into()), || format!("the blocks of {what} overlap or leave gaps"))
}

/// The synapses of a segment, cell and permanence.
fn synapses_of<'a>(memory: &'a PlainMemory, info: &SegmentInfo) -> impl Iterator<Item = (u16, f32)> + 'a {
    let range = info.synapse_start as usize..info.synapse_start as usize + usize::from(info.synapse_count);
    let permanences = memory.permanences[range.clone()].iter().copied();
    memory.presynaptic_cells[range].iter().copied().zip(permanences)
}

fn synapses(memory: &PlainMemory) -> Result<(), FormatError> {
    for (slot, info) in used(memory) {
        let are_possible = synapses_of(memory, info)
            .all(|(cell, permanence)| is_cell(&memory.params, cell) && (0.0..=1.0).contains(&permanence));
        let mut cells: Vec<u16> = synapses_of(memory, info).map(|(cell, _)| cell).collect();
        cells.sort_unstable();
        let is_right = are_possible && cells.is_sorted_by(|a, b| a < b);
        ensure(is_right, || format!("the synapses of segment {slot} are not possible"))?;
    }
    Ok(())
}

/// The postings are exactly the synapses.
fn postings(memory: &PlainMemory) -> Result<(), FormatError> {
    let mut expected: Vec<(usize, u32)> = used(memory)
        .flat_map(|(slot, info)| synapses_of(memory, info).map(move |(cell, _)| (slot, cell)))
        .map(|(slot, cell)| (usize::from(cell) / CELL_STRIDE, posting(slot, cell)))
        .collect();
    expected.sort_unstable();
    let lists = memory.posting_lists.iter().enumerate();
    let mut found: Vec<(usize, u32)> = lists
        .flat_map(|(column, list)| {
            let postings = &memory.postings[list.start as usize..][..list.count as usize];
            postings.iter().map(move |&posting| (column, posting))
        })
        .collect();
    found.sort_unstable();
    ensure(found == expected, || "the postings are not those of the synapses".to_owned())
}

/// What is called active or matching is what the active cells make so.
fn matches(memory: &PlainMemory) -> Result<(), FormatError> {
    let params = &memory.params;
    let is_active = |cell: u16| memory.active_cells[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1 == 1;
    let mut expected = Vec::new();
    for (segment, info) in used(memory) {
        let active = || synapses_of(memory, info).filter(|&(cell, _)| is_active(cell));
        let potential = active().count();
        let connected =
            active().filter(|&(_, permanence)| permanence >= params.connected_threshold()).count();
        let (is_active, is_matching) =
            (connected >= params.activation_threshold, potential >= params.min_threshold);
        if is_active || is_matching {
            let entry = SegmentMatch {
                segment,
                cell: info.cell,
                potential_count: u16::try_from(potential).expect("no more than a segment has synapses"),
                is_active: is_active.into(),
                is_matching: is_matching.into(),
                zero: [0; 2],
            };
            expected.push((info.cell, info.ordinal, entry));
        }
    }
    expected.sort_unstable_by_key(|&(cell, ordinal, _)| (cell, ordinal));
    let is_right = memory.matches().iter().eq(expected.iter().map(|(_, _, entry)| entry));
    ensure(is_right, || "the active and matching segments are not those of the active cells".to_owned())?;
    let mut predicted = vec![0u64; memory.predicted_columns.len()];
    for (_, _, entry) in expected.iter().filter(|(_, _, entry)| entry.is_active != 0) {
        word::set(&mut predicted, entry.column());
    }
    let is_right = predicted == memory.predicted_columns[..];
    ensure(is_right, || "the predicted columns are not those of the active segments".to_owned())
}
