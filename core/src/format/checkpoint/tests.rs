//! Checkpoints restored and forged.

use super::*;
use crate::encoder::Record;
use crate::ids::RowId;
use crate::model::workspace::Workspace;
use proptest::prelude::*;

use crate::classifier::ClassifierParams;
use crate::encoder::random_distributed_scalar::RandomDistributedScalarParams;
use crate::encoder::{EncoderParams, FieldParams};
use crate::params::{
    SpatialPoolerParams, standard_plain_memory, standard_spatial_pooler, standard_temporal_memory,
};

const GENERATION: &str = "0123456789abcdef0123456789abcdef";

/// Raw score, anomaly score, detection score and predictions.
type Bits = (u32, u64, u64, Vec<(u32, Option<u64>)>);

/// One model of each kind that files have different sections for.
fn kinds() -> [ModelParams; 3] {
    let standard = ModelParams::single_metric(1.0).expect("valid");
    let plain = MemoryParams::Plain(standard_plain_memory());
    let classifier = ClassifierParams { steps: vec![1, 7], alpha: 0.1 };
    let values = |seed, width| {
        let standard = RandomDistributedScalarParams::with_resolution(1.0).expect("valid");
        FieldParams::RandomDistributedScalar(RandomDistributedScalarParams { width, seed, ..standard })
    };
    let encoder =
        EncoderParams::new(vec![("a".to_owned(), values(3, 150)), ("b".to_owned(), values(4, 200))]);
    let small = BacktrackingTmParams { columns: 300, cells_per_column: 5, ..standard_temporal_memory() };
    let pooler = SpatialPoolerParams { columns: 300, active_columns: 13, ..standard_spatial_pooler(0) };
    [
        standard.clone().with_classifier(classifier.clone()).expect("valid"),
        standard.with_memory(plain).expect("valid"),
        ModelParams::new(encoder, pooler, MemoryParams::Backtracking(small), Some(classifier))
            .expect("valid"),
    ]
}

struct Bench {
    params: Arc<ModelParams>,
    templates: Templates,
    workspace: Workspace,
}

impl Bench {
    fn new() -> Self {
        Self::of(ModelParams::single_metric(1.0).expect("valid"))
    }

    fn of(params: ModelParams) -> Self {
        Self { params: Arc::new(params), templates: Templates::new(), workspace: Workspace::new() }
    }

    fn model(&self) -> Model {
        Model::new(Arc::clone(&self.params), &self.templates)
    }

    fn open(&self, file: &[u8], trust: Trust) -> Result<Model, FormatError> {
        open(Region::copy_of(file), &self.params, GENERATION, &self.templates, trust)
    }

    fn run(&mut self, model: &mut Model, rows: std::ops::RangeInclusive<i64>) -> Vec<Bits> {
        rows.map(|row| {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let value = (row % 24 * 3 + row * row % 7) as f64;
            let record = Record { timestamp: row * 3600, value };
            let scores = model.step(&mut self.workspace, RowId(row), record).expect("a good record");
            let predicted = scores.best_predictions.iter();
            let predicted = predicted.map(|(steps, value)| (*steps, value.map(f64::to_bits))).collect();
            let detected = scores.detection.score.to_bits();
            (scores.raw_anomaly_score.to_bits(), scores.anomaly_score.to_bits(), detected, predicted)
        })
        .collect()
    }
}

fn image(model: &Model) -> Vec<u8> {
    let mut file = Vec::new();
    write(model, GENERATION, &mut file);
    file
}

#[test]
fn a_restored_model_goes_on_as_if_nothing_had_happened() {
    check_restoring(Bench::new(), &[0, 1, 60, 150, 330]);
}

#[test]
fn every_kind_of_model_goes_on_as_if_nothing_had_happened() {
    for params in kinds() {
        check_restoring(Bench::of(params), &[0, 1, 150]);
    }
}

/// The bytes of all sections but those that depend on when posting lists were put in order, which is never observable.
fn settled(model: &Model) -> Vec<(&'static str, Vec<u8>)> {
    let file = image(model);
    let sections = Header::of(&file).expect("own bytes").sections.into_iter();
    let settled = sections.filter(|section| ![30, 42, 43].contains(&section.kind.id));
    settled.map(|section| (section.kind.name, file[section.range].to_vec())).collect()
}

fn check_restoring(mut bench: Bench, cuts: &[i64]) {
    let mut original = bench.model();
    for &cut in cuts {
        let first = original.last_stepped_row_id().0 + 1;
        bench.run(&mut original, first..=cut);
        let file = image(&original);
        assert!(verify::file(Region::copy_of(&file), &bench.templates).is_ok(), "row {cut}: by itself");
        let mut restored = bench.open(&file, Trust::Nothing).expect("own bytes");
        assert_eq!(restored.last_stepped_row_id(), original.last_stepped_row_id());
        assert_eq!(image(&restored), file, "row {cut}: the bytes after reading");
        let mut copy = original.clone();
        let expected = bench.run(&mut copy, cut + 1..=cut + 60);
        assert_eq!(bench.run(&mut restored, cut + 1..=cut + 60), expected, "row {cut}");
        assert_eq!(settled(&restored), settled(&copy), "row {cut}: the bytes later");
    }
}

#[test]
fn refuses_what_is_not_the_file_asked_for() {
    let mut bench = Bench::new();
    let mut model = bench.model();
    bench.run(&mut model, 1..=20);
    let file = image(&model);
    let read = |file: &[u8]| bench.open(file, Trust::Checksums).map(|_| ());
    assert_eq!(read(&file), Ok(()));
    assert!(matches!(read(&[]), Err(FormatError::Size { .. })));
    assert!(matches!(read(&file[..file.len() - 1]), Err(FormatError::Size { .. })));
    let mut other = file.clone();
    other[0] ^= 1;
    assert!(matches!(read(&other), Err(FormatError::Magic { .. })));
    let mut other = file.clone();
    other[8] = 1;
    assert!(matches!(read(&other), Err(FormatError::Version { found: 1, expected: 4 })));
    let mut other = file.clone();
    other[40] ^= 1;
    assert!(matches!(read(&other), Err(FormatError::Checksum { part: "header", .. })));
    let mut other = file.clone();
    *other.last_mut().expect("not empty") ^= 1;
    assert!(matches!(read(&other), Err(FormatError::Checksum { part: "detection", .. })));
    let mut other = Vec::new();
    write(&model, "another", &mut other);
    assert!(matches!(read(&other), Err(FormatError::Generation { .. })));
    let wide = Arc::new(ModelParams::single_metric(2.0).expect("valid"));
    let other = image(&Model::new(wide, &bench.templates));
    assert!(matches!(read(&other), Err(FormatError::Parameters { .. })));
}

#[test]
fn verifying_finds_what_no_checksum_tells() {
    let mut bench = Bench::new();
    let mut model = bench.model();
    bench.run(&mut model, 1..=200);
    let file = image(&model);
    let header = Header::of(&file).expect("our own file");
    let forged = [
        (11, 1, 0xFF),  // a bucket's bit
        (21, 1, 0x07),  // a column's slot
        (22, 3, 0x60),  // a permanence
        (23, 0, 0x55),  // a row's slot
        (24, 0, 0xFF),  // a connected column
        (33, 1, 0x0F),  // a learning cell
        (35, 2, 0xEE),  // its list
        (41, 0, 0x77),  // a block
        (42, 4, 0x63),  // a list's length
        (43, 0, 0xFE),  // a posting
        (50, 0, 0xFD),  // a presynaptic cell
        (51, 0, 0xFC),  // a permanence code
        (52, 10, 31),   // a segment's synapses
        (52, 12, 99),   // a segment's slot
        (75, 0, 199),   // the number of records
        (75, 15, 0xFF), // a magnitude
        (75, 1985, 1),  // an hour
    ];
    for (id, at, byte) in forged {
        let mut file = file.clone();
        let section = header.sections.iter().find(|section| section.kind.id == id).expect("a section");
        assert_ne!(file[section.range.start + at], byte, "section {id}");
        file[section.range.start + at] = byte;
        Header::mend(&mut file);
        let found = bench.open(&file, Trust::Nothing).map(|_| ());
        assert!(matches!(found, Err(FormatError::Bounds { .. })), "section {id}: {found:?}");
    }
    let mut roomy = file.clone();
    let section = header.sections.iter().find(|section| section.kind.id == 50).expect("a section");
    roomy[section.range.end - 1] = 1;
    Header::mend(&mut roomy);
    let found = verify::file(Region::copy_of(&roomy), &bench.templates).map(|_| ());
    assert!(matches!(found, Err(FormatError::Section { .. })), "{found:?}");
    assert!(verify::file(Region::copy_of(&file), &bench.templates).is_ok());
}

#[test]
fn verifying_finds_a_forged_classifier() {
    let [params, ..] = kinds();
    let mut bench = Bench::of(params);
    let mut model = bench.model();
    bench.run(&mut model, 1..=200);
    let file = image(&model);
    let header = Header::of(&file).expect("our own file");
    // Bytes from the end: a pattern's column, a block's owner, a bucket, a weight, a mean, a flag.
    for (id, at, byte) in
        [(81, 3, 0x80), (83, 1, 0x77), (84, 1, 0xFF), (85, 3, 0xC0), (86, 7, 0xFF), (87, 0, 2)]
    {
        let mut file = file.clone();
        let section = header.section(id).expect("a section");
        file[section.range.start + at] = byte;
        if id == 86 {
            file[section.range.start + 6] = 0xFF;
        }
        Header::mend(&mut file);
        let found = bench.open(&file, Trust::Nothing).map(|_| ());
        assert!(matches!(found, Err(FormatError::Bounds { .. })), "section {id}: {found:?}");
    }
}

#[test]
fn refuses_sections_that_the_parameters_do_not_call_for() {
    let [with_classifier, plain, _] = kinds();
    let bench = Bench::of(with_classifier);
    let description = bench.params.description().as_bytes();
    // A standard model's file that says of itself that it has a classifier, or the plain memory.
    let standard = Bench::new().model();
    for claimed in [description, plain.description().as_bytes()] {
        let mut image = ImageWriter::new();
        image.push(1, claimed, 0);
        push_spatial_pooler_after_encoder(&mut image, &standard);
        let image = image.finish(RowId(0), GENERATION);
        let file = image.slices().concat();
        let found = verify::file(Region::copy_of(&file), &bench.templates).map(|_| ());
        assert!(matches!(found, Err(FormatError::Section { .. })), "{found:?}");
    }
}

fn push_spatial_pooler_after_encoder<'a>(image: &mut ImageWriter<'a>, model: &'a Model) {
    encoder::push(image, model.encoder());
    push_spatial_pooler(image, model.spatial_pooler());
}

/// Bytes changed by someone who also mends the checksums must never do worse than an error.
fn read_forged(bench: &mut Bench, file: &mut [u8]) {
    Header::mend(file);
    if let Ok(mut model) = bench.open(file, Trust::Nothing) {
        // What the checks let through may be a wrong model, and may stop with a panic, but no more.
        let step = std::panic::AssertUnwindSafe(|| bench.run(&mut model, 21..=22));
        let _ = std::panic::catch_unwind(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn forged_bytes_never_do_worse_than_an_error(
        kind in 0_usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bench = kinds().into_iter().nth(kind).map_or_else(Bench::new, Bench::of);
        let mut model = bench.model();
        bench.run(&mut model, 1..=20);
        let mut file = image(&model);
        // Aim at the table and the small sections, where counts and offsets are.
        for (index, byte) in changes {
            let at = 128 + index.index(file.len().min(1 << 16) - 128);
            file[at] = byte;
        }
        std::panic::set_hook(Box::new(|_| {}));
        read_forged(&mut bench, &mut file);
        let _ = std::panic::take_hook();
    }
}
