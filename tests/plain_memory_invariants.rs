//! Promise: whatever a plain temporal memory goes through, it equals a naive model of its description, it never
//! contradicts itself, saving and restoring it changes nothing, and forged bytes never do worse than an error or a
//! panic.

use htm_core::array::{Array, Element};
use htm_core::format::{FormatError, verify};
use htm_core::model::plain_memory::{ARRAYS, ArraySource, ArrayVisitor, PlainMemory};
use htm_core::model::workspace::Workspace;
use htm_core::params::standard_plain_memory;
use htm_kernels::temporal_memory::{TemporalMemoryParams, TemporalMemoryScalars};
use htm_kernels::word::{self, Ones};
use htm_tests::naive_plain_memory::{Cell, NaivePlainMemory};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// What happens to a memory.
#[derive(Debug, Clone)]
enum Event {
    /// A step over these columns.
    Step(Vec<usize>),
    /// A step over one of a few patterns, so that there is something to learn.
    Known(usize),
    Reset,
}

const COLUMNS: usize = 24;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let pattern = vec(0..COLUMNS, 0..7).prop_map(Event::Step);
    let event = prop_oneof![2 => pattern, 12 => (0..5usize).prop_map(Event::Known), 1 => Just(Event::Reset)];
    // Either anything, or a sequence over and over, which is learned.
    let sequence = (2..5usize).prop_map(|period| (0..120).map(|step| Event::Known(step % period)).collect());
    prop_oneof![vec(event, 20..160), sequence]
}

prop_compose! {
    fn params()(
        cells_per_column in 1..=5usize,
        activation_threshold in 1..=4usize,
        min_threshold in 1..=4usize,
        new_synapse_count in 0..=9usize,
        max_segments_per_cell in 1..=3usize,
        max_synapses_per_segment in 1..=9usize,
        initial_permanence in prop_oneof![Just(0.24f32), Just(0.5), Just(0.0)],
        permanence_increment in prop_oneof![Just(0.04f32), Just(0.3)],
        permanence_decrement in prop_oneof![Just(0.008f32), Just(0.1), Just(0.0)],
        predicted_segment_decrement in prop_oneof![Just(0.001f32), Just(0.2), Just(0.0)],
        seed in 1..1000u64,
    ) -> TemporalMemoryParams {
        TemporalMemoryParams {
            columns: COLUMNS,
            cells_per_column,
            activation_threshold,
            min_threshold,
            new_synapse_count,
            max_segments_per_cell,
            max_synapses_per_segment,
            initial_permanence,
            permanence_increment,
            permanence_decrement,
            predicted_segment_decrement,
            seed,
            ..standard_plain_memory()
        }
    }
}

fn known_pattern(number: usize) -> Vec<usize> {
    (number..COLUMNS).step_by(5).collect()
}

/// Both memories after the same events.
struct Pair {
    memory: PlainMemory,
    naive: NaivePlainMemory,
    workspace: Workspace,
}

impl Pair {
    fn new(params: TemporalMemoryParams) -> Self {
        Self {
            memory: PlainMemory::new(params),
            naive: NaivePlainMemory::new(params),
            workspace: Workspace::new(),
        }
    }

    fn live(&mut self, event: &Event) {
        let mut columns = match event {
            Event::Step(columns) => columns.clone(),
            Event::Known(number) => known_pattern(*number),
            Event::Reset => {
                self.memory.reset();
                self.naive.reset();
                return;
            }
        };
        columns.sort_unstable();
        columns.dedup();
        let narrow: Vec<u16> = columns.iter().map(|&column| u16::try_from(column).expect("few")).collect();
        self.memory.compute(&mut self.workspace, &narrow);
        self.naive.compute(&columns);
    }

    fn assert_equal(&mut self) {
        verify::plain_memory(&self.memory).expect("a memory that agrees with itself");
        let naive = &self.naive;
        let set = |words: &[u32]| -> Vec<Cell> {
            let of_column =
                |(column, &cells): (usize, &u32)| Ones(cells.into()).map(move |cell| (column, cell));
            words.iter().enumerate().flat_map(of_column).collect()
        };
        assert!(naive.active.iter().copied().eq(set(self.memory.active_cells())), "active cells");
        assert!(naive.winners.iter().copied().eq(set(self.memory.winner_cells())), "winner cells");
        let view = self.memory.view();
        assert_eq!(view.scalars.random, naive.random, "draws");
        let slots = &view.segments[..view.scalars.slot_count as usize];
        let mut found: Vec<_> = slots.iter().filter(|segment| segment.is_used != 0).collect();
        found.sort_by_key(|segment| (segment.cell, segment.ordinal));
        assert_eq!(found.len(), naive.segments.len(), "segments");
        let cell_of = |cell: u16| (usize::from(cell) / 32, usize::from(cell) % 32);
        for (found, expected) in found.iter().zip(&naive.segments) {
            let start = found.synapse_start as usize;
            let range = start..start + usize::from(found.synapse_count);
            let cells = view.presynaptic_cells[range.clone()].iter().map(|&cell| cell_of(cell));
            let bits = view.permanences[range].iter().map(|permanence| permanence.to_bits());
            let expected_synapses = expected.synapses.iter().map(|&(cell, value)| (cell, value.to_bits()));
            assert!(cells.zip(bits).eq(expected_synapses), "synapses of {found:?}, expected {expected:?}");
            let found = (cell_of(found.cell), found.ordinal, found.last_used_iteration);
            assert_eq!(found, (expected.cell, expected.ordinal, expected.last_used));
        }
        let ordinals = |is_wanted: fn(u8, u8) -> bool| -> Vec<u64> {
            let entries = view.matches[..view.scalars.match_count as usize].iter();
            let wanted = entries.filter(|entry| is_wanted(entry.is_active, entry.is_matching));
            let mut ordinals: Vec<u64> =
                wanted.map(|entry| view.segments[entry.segment as usize].ordinal).collect();
            ordinals.sort_unstable();
            ordinals
        };
        assert!(naive.active_segments.iter().copied().eq(ordinals(|active, _| active == 1)), "active");
        assert!(
            naive.matching_segments.iter().copied().eq(ordinals(|_, matching| matching == 1)),
            "matching"
        );
        let predicted = naive.segments.iter().filter(|s| naive.active_segments.contains(&s.ordinal));
        let mut predicted: Vec<usize> = predicted.map(|segment| segment.cell.0).collect();
        predicted.dedup();
        assert!(word::ones(view.predicted_columns).eq(predicted), "predicted columns");
    }
}

/// A memory's arrays as bytes, with nothing else of it.
#[derive(Debug, Clone, PartialEq)]
struct Saved {
    scalars: Vec<u8>,
    /// Name, elements in use, room included, elements in use.
    arrays: Vec<(&'static str, Vec<u8>, usize)>,
    next: usize,
}

impl Saved {
    fn of(memory: &PlainMemory) -> Self {
        let mut saved = Self { scalars: memory.scalars().as_bytes().to_vec(), arrays: Vec::new(), next: 0 };
        memory.each_array(&mut saved);
        saved
    }

    fn restore(&mut self, params: TemporalMemoryParams) -> Result<PlainMemory, FormatError> {
        self.next = 0;
        let scalars = TemporalMemoryScalars::read_from_bytes(&self.scalars).expect("as long as it was");
        PlainMemory::from_arrays(params, scalars, self)
    }
}

impl<'a> ArrayVisitor<'a> for Saved {
    fn visit<T: Element>(&mut self, name: &'static str, used: &'a [T], headroom: usize) {
        let mut bytes = used.as_bytes().to_vec();
        bytes.resize(bytes.len() + headroom * size_of::<T>(), 0);
        self.arrays.push((name, bytes, used.len()));
    }
}

impl ArraySource for Saved {
    fn take<T: Element>(&mut self, name: &'static str, used: usize) -> Result<Array<T>, FormatError> {
        let (expected, bytes, in_use) = &self.arrays[self.next];
        self.next += 1;
        assert_eq!(name, *expected, "the next array");
        let elements: Vec<T> = bytes
            .chunks_exact(size_of::<T>())
            .map(|chunk| T::read_from_bytes(chunk).expect("whole"))
            .collect();
        let is_right = *in_use == used;
        let wrong = || FormatError::Section { name, reason: format!("{in_use} elements, expected {used}") };
        is_right.then(|| Array::copy_of(&elements)).ok_or_else(wrong)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_memory_equals_the_naive_model(params in params(), events in events()) {
        let mut pair = Pair::new(params);
        for event in &events {
            pair.live(event);
            pair.assert_equal();
        }
    }

    #[test]
    fn a_restored_memory_goes_on_as_if_nothing_had_happened(
        params in params(),
        events in events(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut pair = Pair::new(params);
        let cut = cut.index(events.len());
        events[..cut].iter().for_each(|event| pair.live(event));
        let mut saved = Saved::of(&pair.memory);
        let restored = saved.restore(params).expect("own bytes");
        prop_assert_eq!(&Saved::of(&restored).arrays, &saved.arrays);
        pair.memory = restored;
        for event in &events[cut..] {
            pair.live(event);
            pair.assert_equal();
        }
    }

    /// Whatever the verification lets through steps on, or panics, but no worse.
    #[test]
    fn forged_bytes_never_do_worse_than_an_error(
        events in events(),
        changes in vec((0..=ARRAYS.len(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let params = TemporalMemoryParams {
            columns: COLUMNS,
            cells_per_column: 4,
            activation_threshold: 3,
            min_threshold: 2,
            new_synapse_count: 5,
            max_segments_per_cell: 2,
            max_synapses_per_segment: 9,
            ..standard_plain_memory()
        };
        let mut pair = Pair::new(params);
        for event in &events {
            pair.live(event);
        }
        let mut saved = Saved::of(&pair.memory);
        let original = saved.clone();
        for (number, at, byte) in changes {
            let bytes = match number.checked_sub(1) {
                Some(number) => &mut saved.arrays[number].1,
                None => &mut saved.scalars,
            };
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let Ok(forged) = saved.restore(params) else { return Ok(()) };
        let is_sound = verify::plain_memory(&forged).is_ok();
        let mut restored = Pair { memory: forged, naive: NaivePlainMemory::new(params), workspace: Workspace::new() };
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let step = std::panic::AssertUnwindSafe(|| {
            for number in 0..5 {
                restored.live(&Event::Known(number));
            }
        });
        let outcome = std::panic::catch_unwind(step);
        std::panic::set_hook(hook);
        prop_assert!(outcome.is_ok() || !is_sound, "verified bytes panicked: {:?}", original == saved);
    }
}

#[test]
fn a_posting_list_without_a_block_that_starts_outside_is_an_error() {
    let params = TemporalMemoryParams { columns: COLUMNS, cells_per_column: 4, ..standard_plain_memory() };
    let mut saved = Saved::of(&PlainMemory::new(params));
    verify::plain_memory(&saved.restore(params).expect("as saved")).expect("nothing is learned yet");
    let (_, lists, _) =
        saved.arrays.iter_mut().find(|(name, ..)| *name == "posting_lists").expect("an array");
    lists[2] = 32;
    let forged = saved.restore(params).expect("of the right size");
    verify::plain_memory(&forged).expect_err("the first list starts at element 2,097,152");
}

#[test]
fn synapses_are_connected_from_a_hundred_thousandth_below_the_threshold() {
    // No recording tells 1e-5 from 1e-6: a synapse of 0.499995 is connected only with the former.
    let active_columns = |initial_permanence: f32| {
        let mut memory = PlainMemory::new(TemporalMemoryParams {
            columns: 8,
            cells_per_column: 1,
            activation_threshold: 1,
            min_threshold: 1,
            new_synapse_count: 1,
            initial_permanence,
            ..standard_plain_memory()
        });
        let mut workspace = Workspace::new();
        // The second step makes the segment, the third finds its synapse.
        for columns in [[1], [2], [1]] {
            memory.compute(&mut workspace, &columns);
        }
        word::ones(memory.predicted_columns()).collect::<Vec<_>>()
    };
    assert_eq!(active_columns(0.499_995), [2]);
    assert_eq!(active_columns(0.499_98), [0; 0]);
}

#[test]
fn an_empty_step_punishes_and_draws_nothing() {
    let mut pair = Pair::new(TemporalMemoryParams {
        columns: COLUMNS,
        activation_threshold: 3,
        min_threshold: 2,
        ..standard_plain_memory()
    });
    for step in 0..40 {
        pair.live(&Event::Known(step % 3));
    }
    let draws = pair.memory.scalars().random.clone();
    assert!(!pair.memory.matches().is_empty());
    pair.live(&Event::Step(Vec::new()));
    pair.assert_equal();
    assert_eq!(pair.memory.scalars().random, draws);
    assert!(pair.memory.matches().is_empty());
}

#[test]
fn lives_reach_what_the_checks_are_about() {
    // Few places, so that segments are destroyed to make room, and patterns that change, so that others are punished
    // until they are gone.
    let mut pair = Pair::new(TemporalMemoryParams {
        columns: COLUMNS,
        cells_per_column: 2,
        activation_threshold: 3,
        min_threshold: 2,
        new_synapse_count: 6,
        max_segments_per_cell: 2,
        max_synapses_per_segment: 7,
        permanence_increment: 0.15,
        permanence_decrement: 0.1,
        predicted_segment_decrement: 0.2,
        ..standard_plain_memory()
    });
    let (mut has_free_slot, mut has_full_segment, mut was_predicted) = (false, false, false);
    for step in 0..400usize {
        pair.live(&Event::Known(step * (1 + step / 50 % 4) % 5));
        pair.assert_equal();
        let view = pair.memory.view();
        let slots = &view.segments[..view.scalars.slot_count as usize];
        has_free_slot |= slots.iter().any(|segment| segment.is_used == 0);
        has_full_segment |= slots.iter().any(|segment| segment.synapse_count == 7);
        was_predicted |= view.predicted_columns[0] != 0;
    }
    let scalars = pair.memory.scalars();
    assert!(has_free_slot, "a segment lost its last synapse");
    assert!(has_full_segment, "a segment had as many synapses as it may");
    assert!(was_predicted, "a column was predicted");
    assert!(scalars.next_ordinal > u64::from(scalars.slot_count), "slots were used again: {scalars:?}");
    assert!(
        scalars.synapse_blocks.free.iter().any(|&free| free != u32::MAX),
        "blocks came free: {scalars:?}"
    );
}

#[test]
fn verifying_finds_what_was_forged() {
    let params = TemporalMemoryParams {
        columns: COLUMNS,
        cells_per_column: 4,
        activation_threshold: 3,
        min_threshold: 2,
        new_synapse_count: 5,
        ..standard_plain_memory()
    };
    let mut pair = Pair::new(params);
    for step in 0..40 {
        pair.live(&Event::Known(step % 3));
    }
    let saved = Saved::of(&pair.memory);
    verify::plain_memory(&saved.clone().restore(params).expect("own bytes")).expect("unchanged");
    for (number, (_, kind)) in ARRAYS.iter().enumerate() {
        let mut forged = saved.clone();
        let (name, bytes, _) = &mut forged.arrays[number];
        let name = *name;
        assert!(!bytes.is_empty(), "{name} has elements");
        // The most significant byte of the first element, but a record's first field.
        let at = match name {
            "matches" | "posting_lists" => 3,
            "segments" => 7,
            _ => kind.size_bytes() as usize - 1,
        };
        bytes[at] ^= 0x7F;
        let memory = forged.restore(params).expect("the shapes are unchanged");
        let found = verify::plain_memory(&memory);
        assert!(matches!(found, Err(FormatError::Bounds { .. })), "{name}: {found:?}");
    }
}
