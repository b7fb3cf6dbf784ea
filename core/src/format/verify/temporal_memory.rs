//! What must hold in a backtracking temporal memory.

use htm_kernels::backtracking_tm::bank::{self, BANK_SEGMENTS};
use htm_kernels::backtracking_tm::pattern::{PATTERN_STRIDE, indices};
use htm_kernels::backtracking_tm::postings::{
    NO_BLOCK, NO_CLASS, PostingList, SIZE_CLASSES, block_len, next_free,
};
use htm_kernels::backtracking_tm::state::NO_COLUMN_BLOCK;
use htm_kernels::backtracking_tm::{BacktrackingTmParams, CELL_STRIDE};
use htm_kernels::word::Ones;

use super::{FormatError, ensure};
use crate::model::temporal_memory::{StoredPermanences, TemporalMemory};

/// Checks shapes, ranges, and everything that is stored twice: learning cells, connected counts, slots, and the
/// posting lists with the synapses they stand for.
pub(super) fn check(memory: &TemporalMemory) -> Result<(), FormatError> {
    cell_sets(memory)?;
    let (params, scalars) = (memory.params(), &memory.scalars);
    ensure(scalars.random.is_valid(), || "the generator's position lies outside its state".to_owned())?;
    patterns(&memory.infer_history, scalars.infer_history_count, params.columns)?;
    patterns(&memory.learn_history, scalars.learn_history_count, params.columns)?;
    column_blocks(memory)?;
    segments(memory)?;
    queue(memory)?;
    slots(memory)?;
    arena(memory)?;
    postings(memory)?;
    kept_activity(memory)
}

fn cell_sets(memory: &TemporalMemory) -> Result<(), FormatError> {
    let mask = memory.params().column_mask();
    for (cells, what) in [
        (&memory.infer_active, "an active cell"),
        (&memory.infer_predicted, "a predicted cell"),
        (&memory.learn_active, "a learning cell"),
        (&memory.learn_predicted, "a predicted learning cell"),
    ] {
        ensure(cells.iter().all(|cells| cells & !mask == 0), || format!("{what} lies outside its column"))?;
    }
    patterns(&memory.learn_cells, 1, memory.params().columns * CELL_STRIDE)?;
    let listed = indices(&memory.learn_cells).iter().map(|&cell| usize::from(cell));
    let is_same = listed.eq(cells_of(&memory.learn_active));
    ensure(is_same, || "the list of learning cells differs from their set".to_owned())
}

fn cells_of(cells: &[u32]) -> impl Iterator<Item = usize> + '_ {
    let in_column =
        |(column, &cells): (usize, &u32)| Ones(u64::from(cells)).map(move |cell| column * CELL_STRIDE + cell);
    cells.iter().enumerate().flat_map(in_column)
}

/// Records of at most 63 ascending indices below `limit`.
fn patterns(records: &[u16], count: u32, limit: usize) -> Result<(), FormatError> {
    let is_valid = |record: &[u16]| {
        let indices = record.get(1..=usize::from(record[0])).unwrap_or(&[u16::MAX, 0]);
        indices.is_sorted_by(|a, b| a < b) && indices.iter().all(|&index| usize::from(index) < limit)
    };
    let mut records = records.chunks_exact(PATTERN_STRIDE).take(count as usize);
    ensure(records.all(is_valid), || format!("a pattern is not ascending or not below {limit}"))
}

/// Every block of posting lists belongs to exactly one column of one bank.
fn column_blocks(memory: &TemporalMemory) -> Result<(), FormatError> {
    let blocks = memory.column_blocks.iter().copied().filter(|&block| block != NO_COLUMN_BLOCK);
    let mut blocks: Vec<u32> = blocks.map(u32::from).collect();
    blocks.sort_unstable();
    let is_right = blocks.into_iter().eq(0..memory.scalars.block_count);
    ensure(is_right, || "a block of posting lists has no or several owners".to_owned())
}

fn segments(memory: &TemporalMemory) -> Result<(), FormatError> {
    let (params, scalars) = (memory.params(), &memory.scalars);
    let mut synapse_count = 0;
    for id in 0..scalars.segment_count as usize {
        let info = &memory.segments.infos[id];
        let cell = usize::from(memory.segments.infos[id].cell);
        ensure(is_learning_cell(params, cell), || format!("segment {id} belongs to cell {cell}"))?;
        let is_sound = usize::from(info.count) <= params.max_synapses_per_segment
            && info.zero == [0; 3]
            && info.duty_cycle_iteration <= scalars.iteration
            && info.duty_cycle.is_finite();
        ensure(is_sound, || format!("segment {id} has {info:?}"))?;
        ensure(are_synapses_valid(memory, id), || format!("the synapses of segment {id} are not possible"))?;
        synapse_count += u32::from(info.count);
    }
    let found = scalars.synapse_count;
    ensure(found == synapse_count, || format!("it counts {found} synapses where {synapse_count} are"))
}

/// Not a start cell, which never owns a segment.
fn is_learning_cell(params: &BacktrackingTmParams, cell: usize) -> bool {
    cell < params.columns * CELL_STRIDE && (1..params.cells_per_column).contains(&(cell % CELL_STRIDE))
}

fn are_synapses_valid(memory: &TemporalMemory, id: usize) -> bool {
    let params = memory.params();
    let stride = params.synapse_stride();
    let info = &memory.segments.infos[id];
    let range = id * stride..(id + 1) * stride;
    let (cells, unused) = memory.segments.presynaptic_cells[range.clone()].split_at(usize::from(info.count));
    let is_cell =
        |cell: usize| cell < params.columns * CELL_STRIDE && cell % CELL_STRIDE < params.cells_per_column;
    let (connected, is_possible) = match &memory.segments.permanences {
        StoredPermanences::Codes(codes, table) => {
            let (used, unused) = codes[range].split_at(usize::from(info.count));
            let connected = used.iter().filter(|&&code| code >= table.connected_from()).count();
            let is_code = |&code: &u8| usize::from(code) < table.len();
            (connected, used.iter().all(is_code) && unused.iter().all(|&code| code == 0))
        }
        StoredPermanences::Values(values) => {
            let (used, unused) = values[range].split_at(usize::from(info.count));
            let connected = used.iter().filter(|&&value| value >= params.connected_permanence).count();
            let is_permanence = |&value: &f32| value > 0.0 && value <= params.permanence_max;
            (connected, used.iter().all(is_permanence) && unused.iter().all(|value| value.to_bits() == 0))
        }
    };
    is_possible
        && connected == usize::from(info.connected_count)
        && cells.is_sorted_by(|a, b| a < b)
        && cells.iter().all(|&cell| is_cell(usize::from(cell)))
        && unused.iter().all(|&cell| cell == 0)
}

/// Queued updates name segments of ascending columns.
fn queue(memory: &TemporalMemory) -> Result<(), FormatError> {
    let queued = &memory.queue_segments[..memory.scalars.queue_count as usize];
    let are_known = queued.iter().all(|&id| id < memory.scalars.segment_count);
    let column = |&id: &u32| memory.segments.infos[id as usize].cell / 32;
    let is_right = are_known && queued.is_sorted_by(|a, b| column(a) < column(b));
    ensure(is_right, || "the queued updates are not of one segment in each of ascending columns".to_owned())
}

/// The segments of a cell have the slots 0, 1, 2, ...
fn slots(memory: &TemporalMemory) -> Result<(), FormatError> {
    let mut slots: Vec<(u16, u8)> = (0..memory.scalars.segment_count as usize)
        .map(|id| (memory.segments.infos[id].cell, memory.segments.infos[id].slot))
        .collect();
    slots.sort_unstable();
    let columns = memory.params().columns;
    let mut rest = &*slots;
    for (column, &block) in memory.column_blocks.iter().take(columns).enumerate() {
        for cell_in_column in 0..CELL_STRIDE {
            let cell = column * CELL_STRIDE + cell_in_column;
            let own = rest.partition_point(|&(other, _)| usize::from(other) <= cell);
            let (own, others) = rest.split_at(own);
            rest = others;
            let counted = match block {
                NO_COLUMN_BLOCK => 0,
                block => {
                    memory.posting_lists[usize::from(block) * CELL_STRIDE + cell_in_column].segment_count
                }
            };
            let is_right = own.iter().map(|&(_, slot)| slot).eq(0..counted);
            ensure(is_right, || format!("cell {cell} has {counted} segments, and others own slots"))?;
        }
    }
    Ok(())
}

/// Blocks of the arena, in use or free, do not overlap.
fn arena(memory: &TemporalMemory) -> Result<(), FormatError> {
    let used = memory.scalars.posting_words_used as usize;
    let mut blocks = Vec::new();
    for list in &memory.posting_lists[..memory.scalars.block_count as usize * CELL_STRIDE] {
        if list.class != NO_CLASS {
            ensure(usize::from(list.class) < SIZE_CLASSES, || format!("a posting list has {list:?}"))?;
            blocks.push((list.offset as usize, block_len(list.class)));
        }
    }
    for (class, &head) in (0..).zip(&memory.scalars.posting_free_blocks) {
        let mut free = head;
        while free != NO_BLOCK {
            blocks.push((free as usize, block_len(class)));
            let is_inside = free as usize + 2 <= used && blocks.len() <= used;
            ensure(is_inside, || "the free blocks lead outside the arena or in a circle".to_owned())?;
            free = next_free(&memory.postings.words, free);
        }
    }
    blocks.sort_unstable();
    let are_apart = blocks.is_sorted_by(|a, b| a.0 + a.1 <= b.0);
    let is_inside = blocks.last().is_none_or(|(offset, len)| offset + len <= used);
    ensure(are_apart && is_inside, || "blocks of postings overlap or leave the arena".to_owned())
}

/// The posting lists hold exactly the synapses.
fn postings(memory: &TemporalMemory) -> Result<(), FormatError> {
    let columns = memory.params().columns;
    let mut total = 0;
    for (number, blocks) in memory.column_blocks.chunks(columns).enumerate() {
        for (column, &block) in blocks.iter().enumerate().filter(|(_, block)| **block != NO_COLUMN_BLOCK) {
            let lists = &memory.posting_lists[usize::from(block) * CELL_STRIDE..][..CELL_STRIDE];
            for (cell, &list) in (column * CELL_STRIDE..).zip(lists) {
                ensure(is_list_right(memory, number, cell, list), || {
                    format!("the postings of cell {cell} in bank {number} are not those of its synapses")
                })?;
                total += u32::from(list.count);
            }
        }
    }
    let synapses = memory.scalars.synapse_count;
    ensure(total == synapses, || format!("there are {total} postings for {synapses} synapses"))
}

fn is_list_right(memory: &TemporalMemory, number: usize, cell: usize, list: PostingList) -> bool {
    if list.class == NO_CLASS {
        return list.count == 0;
    }
    if usize::from(list.count) > block_len(list.class) {
        return false;
    }
    let mut postings = memory.postings.words[list.offset as usize..][..usize::from(list.count)].to_vec();
    postings.sort_unstable();
    let stride = memory.params().synapse_stride();
    let has_synapse = |&local: &u16| {
        let id = number * BANK_SEGMENTS + usize::from(local);
        let is_known = usize::from(local) < BANK_SEGMENTS && id < memory.scalars.segment_count as usize;
        is_known && {
            let cells = &memory.segments.presynaptic_cells[id * stride..];
            let used = usize::from(memory.segments.infos[id].count);
            cells[..used].binary_search_by(|&source| usize::from(source).cmp(&cell)).is_ok()
        }
    };
    postings.is_sorted_by(|a, b| a < b) && postings.iter().all(has_synapse)
}

/// Kept counts are what counting anew gives.
fn kept_activity(memory: &TemporalMemory) -> Result<(), FormatError> {
    if memory.scalars.has_kept_activity == 0 {
        return Ok(());
    }
    let stride = memory.params().synapse_stride();
    for id in 0..memory.scalars.segment_count {
        let segment = id as usize;
        let used = usize::from(memory.segments.infos[segment].count);
        let cells = &memory.segments.presynaptic_cells[segment * stride..][..used];
        let is_active =
            |&&cell: &&u16| memory.infer_active[usize::from(cell) / CELL_STRIDE] >> (cell % 32) & 1 == 1;
        let active = cells.iter().filter(is_active).count();
        let kept = memory.kept_activity[bank::counter_of(id)];
        ensure(usize::from(kept) == active, || {
            format!("segment {id} keeps {kept} active synapses of {active}")
        })?;
    }
    Ok(())
}
