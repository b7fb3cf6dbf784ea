//! A checkpoint is hostile input: whatever its bytes, reading it ends in a model or an error, never a panic.
//!
//! The fuzzer's bytes are edits of a real checkpoint (three for the place, one for the value, most of them aimed
//! at the header and the section table), because random bytes would not get past the parameters. The header's
//! sums are mended afterwards, or nothing would get past those. What reads back must be writable again; stepping
//! it is not tried, because a forged model may be a wrong one.
#![no_main]

use std::sync::{Arc, LazyLock};

use htm_core::encoder::Record;
use htm_core::format::checkpoint;
use htm_core::format::header::{HEADER_BYTES, Header};
use htm_core::ids::RowId;
use htm_core::model::Model;
use htm_core::model::template::Templates;
use htm_core::model::workspace::Workspace;
use htm_core::params::ModelParams;
use libfuzzer_sys::fuzz_target;

const GENERATION: &str = "0123456789abcdef0123456789abcdef";

struct Base {
    params: Arc<ModelParams>,
    templates: Templates,
    file: Vec<u8>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let params = Arc::new(ModelParams::single_metric(1.0).expect("valid"));
    let templates = Templates::new();
    let mut model = Model::new(Arc::clone(&params), &templates);
    let mut workspace = Workspace::new();
    for row in 1..=120 {
        let value = f64::from(row % 24 * 3 + row * row % 7);
        let record = Record { timestamp: i64::from(row) * 3600, value };
        model.step(&mut workspace, RowId(row.into()), record).expect("a good record");
    }
    Base { params, templates, file: checkpoint::write(&model, GENERATION) }
});

fuzz_target!(|data: &[u8]| {
    let base = &*BASE;
    let mut file = base.file.clone();
    for edit in data.chunks_exact(4) {
        let place = usize::from(edit[0]) << 16 | usize::from(edit[1]) << 8 | usize::from(edit[2]);
        // The top bit chooses between the whole file and its first 4 KiB, where the table and small records are.
        let limit = if edit[0] & 0x80 == 0 { 4096 } else { file.len() };
        file[place % limit] = edit[3];
    }
    // An odd byte left over cuts the file.
    if let [cut] = *data.chunks_exact(4).remainder() {
        file.truncate(HEADER_BYTES.max(file.len() / 256 * usize::from(cut)));
    }
    let section_count = u32::from_le_bytes(file[12..16].try_into().expect("four bytes"));
    let row_id = i64::from_le_bytes(file[24..32].try_into().expect("eight bytes"));
    let header =
        Header { section_count, last_stepped_row_id: RowId(row_id), generation: GENERATION.to_owned() };
    header.write(&mut file);
    if let Ok(model) = checkpoint::read(&file, &base.params, GENERATION, &base.templates) {
        checkpoint::write(&model, GENERATION);
    }
});
